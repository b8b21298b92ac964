//! Which protocol goes to which application.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use channel_layer::ChannelLayer;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use super::{
    health::HealthPaths,
    hooks::Hooks,
    service::{Parts, SocketService},
};
use crate::{
    application::Application,
    error::Error,
    limits::Limits,
    middleware::{OriginCheck, Origins, TrustedProxies},
    resume::Resume,
    socket::Socket,
};

/// What a server speaks: WebSockets to an application, plain HTTP to any tower service.
///
/// ```
/// use std::sync::Arc;
/// use channel_layer::MemoryLayer;
/// use ws_consumer::{Protocols, Router};
///
/// let service = Protocols::new().websocket(Router::new()).into_service(Arc::new(MemoryLayer::default()));
/// assert!(service.connections().is_empty());
/// ```
pub struct Protocols<H = NotFound> {
    websocket: Arc<dyn Application>,
    requests: Option<Arc<dyn Application>>,
    http: H,
    hooks: Hooks,
    origins: Origins,
    proxies: TrustedProxies,
    unprotected: bool,
    limits: Limits,
    health: Option<HealthPaths>,
    resume: Option<Resume>,
    accepts_in_outage: bool,
}

impl Protocols {
    /// No protocol yet: everything is 404.
    pub fn new() -> Self {
        Self {
            websocket: Arc::new(nothing),
            requests: None,
            http: NotFound,
            hooks: Hooks::default(),
            origins: Origins::SameHost,
            proxies: TrustedProxies::default(),
            unprotected: false,
            limits: Limits::default(),
            health: None,
            resume: None,
            accepts_in_outage: false,
        }
    }
}

impl<H> Protocols<H> {
    /// Serves WebSockets with an application, mostly a [`Router`](crate::Router).
    pub fn websocket(mut self, application: impl Application) -> Self {
        self.websocket = Arc::new(application);
        self
    }

    /// Serves everything else with a tower service.
    pub fn http<S>(self, service: S) -> Protocols<S> {
        Protocols {
            websocket: self.websocket,
            requests: self.requests,
            http: service,
            hooks: self.hooks,
            origins: self.origins,
            proxies: self.proxies,
            unprotected: self.unprotected,
            limits: self.limits,
            health: self.health,
            resume: self.resume,
            accepts_in_outage: self.accepts_in_outage,
        }
    }

    /// Serves plain HTTP requests with an application, mostly a [`Router`](crate::Router) of
    /// [`HttpConsumer`](crate::HttpConsumer)s. Requests that it has no route for go to the tower service.
    pub fn requests(mut self, application: impl Application) -> Self {
        self.requests = Some(Arc::new(application));
        self
    }

    /// Serves WebSockets and plain HTTP requests alike with one application, so that one URL may serve both. It sees by
    /// [`Context::is_websocket`](crate::Context::is_websocket) which it is.
    pub fn both(mut self, application: impl Application) -> Self {
        self.websocket = Arc::new(application);
        self.requests = Some(Arc::new(self.websocket.clone()));
        self
    }

    /// Runs `hook` before the first connection is served: [`SocketService::startup`].
    pub fn on_startup<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Arc<dyn ChannelLayer>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.hooks.on_startup(hook);
        self
    }

    /// Runs `hook` after the last connection has ended; [`Connections::close`](crate::Connections::close) waits for it, and so does [`serve`](crate::serve). The last one registered runs first.
    pub fn on_shutdown<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Arc<dyn ChannelLayer>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.hooks.on_shutdown(hook);
        self
    }

    /// Whose pages may open sockets: by default those of the host itself.
    pub fn origins(mut self, origins: impl Into<Origins>) -> Self {
        self.origins = origins.into();
        self
    }

    /// Believes these proxies about the client's address and the origin that it sees, wherever either counts: in the origin
    /// check, in [`AllowedHosts`](crate::middleware::AllowedHosts) and [`Limiter`](crate::middleware::Limiter), in
    /// [`Scope::client`](crate::Scope::client), spans and access logs. By default none.
    ///
    /// ```
    /// # use ws_consumer::{Protocols, middleware::TrustedProxies};
    /// let protocols = Protocols::new().trust(TrustedProxies::new(["10.0.0.0/8", "unix:"])?);
    /// # Ok::<(), ws_consumer::middleware::AddressError>(())
    /// ```
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Starts although the application acts on cookies and [any origin](Origins::Any) is let in: every page that a
    /// visitor looks at may then use their sockets in their name.
    pub fn without_origin_check_for_credentials(mut self) -> Self {
        self.unprotected = true;
        self
    }

    /// What one connection may take.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves the [`websocket`](Self::websocket) application over server-sent events, long polls and polls as well, at the
    /// same URLs, and lets clients go on with their sessions after a connection broke, over any transport and in any
    /// process that shares the channel layer. Off by default.
    ///
    /// Consumers need to know nothing of it; [`resumed`](crate::Consumer::resumed) and
    /// [`Scope::transport`](crate::Scope::transport) are for those that want to. Ordinary WebSockets stay what they are. What
    /// goes over the wire is [written down](crate::docs::transports); a client for browsers comes with the crate.
    ///
    /// Pages of other hosts need CORS headers for everything but WebSockets: put a layer that adds them around the service.
    ///
    /// ```
    /// # use ws_consumer::{Protocols, Router, Resume};
    /// let protocols = Protocols::new().websocket(Router::new()).resume(Resume::default());
    /// ```
    pub fn resume(mut self, resume: Resume) -> Self {
        self.resume = Some(resume);
        self
    }

    /// Lets new sockets in while the channel layer is known to have lost its backend, for applications that are of use
    /// without it. By default they are refused with 503 and `Retry-After`: they would hear nothing from others. Connections and
    /// sessions that there are go on in any case.
    pub fn accept_in_outage(mut self) -> Self {
        self.accepts_in_outage = true;
        self
    }

    /// Answers `/healthz` with 200 while the process lives, and `/readyz` with 200 while new clients are taken and the
    /// channel layer answers, otherwise with 503.
    pub fn health_checks(mut self) -> Self {
        self.health = Some(HealthPaths { alive: "/healthz", ready: "/readyz" });
        self
    }

    /// The service, for [`serve`](crate::serve), for axum's `fallback_service`, or for anything that takes a tower
    /// service.
    ///
    /// # Panics
    /// When the application [acts on credentials that browsers add](Application::uses_ambient_credentials) and every
    /// origin is let in, unless
    /// [that is wanted](Self::without_origin_check_for_credentials).
    pub fn into_service(self, layer: Arc<dyn ChannelLayer>) -> SocketService<H> {
        let Self { websocket, requests, http, hooks, origins, proxies, .. } = self;
        let Self { unprotected, limits, health, resume, accepts_in_outage, .. } = self;
        let acts = |application: &dyn Application| application.uses_ambient_credentials();
        // Plain requests of foreign pages are HTTP's everyday life, unless they come with the visitor's credentials.
        let requests = requests.map(|requests| match acts(&*requests) {
            true => Arc::new(OriginCheck::new(origins.clone(), requests)) as Arc<dyn Application>,
            false => requests,
        });
        let application = OriginCheck::new(origins, websocket);
        assert!(
            unprotected || !(acts(&application) || requests.as_deref().is_some_and(acts)),
            "the application acts on cookies and lets pages of every origin in: check the origin, or say \
             `without_origin_check_for_credentials`"
        );
        let parts = Parts { requests, hooks, layer, proxies, limits, health, resume, accepts_in_outage };
        SocketService::new(application, http, parts)
    }
}

impl Default for Protocols {
    fn default() -> Self {
        Self::new()
    }
}

async fn nothing(_: Socket) -> Result<(), Error> {
    Err(Error::Refused(StatusCode::NOT_FOUND))
}

/// The HTTP side of a server that has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotFound;

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        ready(Ok(response))
    }
}
