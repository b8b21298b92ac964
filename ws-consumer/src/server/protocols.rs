//! [`Protocols`]: the applications of a server's protocols, and its settings.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use channel_layer::{ChannelLayer, ChannelLayerExt};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use super::{
    health::HealthPaths,
    hooks::ServerHooks,
    service::{ServiceParts, SocketService},
};
use crate::{
    application::Application,
    error::Error,
    limits::Limits,
    middleware::{OriginCheck, Origins, TrustedProxies},
    resume::Resume,
    socket::Socket,
};

/// The protocols of a server: WebSockets for an application, plain HTTP for any tower service.
///
/// ```no_run
/// use axum::routing::get;
/// use channel_layer::MemoryLayer;
/// use ws_consumer::{Protocols, Router, listen, serve};
///
/// # async fn run() -> std::io::Result<()> {
/// let pages = axum::Router::new().route("/", get(async || "the page"));
/// let service = Protocols::new().websocket(Router::new()).http(pages).into_service(MemoryLayer::default());
/// serve(listen("127.0.0.1:8000").await?, service).await
/// # }
/// ```
pub struct Protocols<H = NotFound> {
    http: H,
    settings: ProtocolSettings,
}

/// The settings that do not depend on the type of the HTTP service.
struct ProtocolSettings {
    websocket: Arc<dyn Application>,
    requests: Option<Arc<dyn Application>>,
    hooks: ServerHooks,
    origins: Origins,
    proxies: TrustedProxies,
    unprotected: bool,
    limits: Limits,
    health: Option<HealthPaths>,
    resume: Option<Resume>,
    accepts_in_outage: bool,
}

impl Protocols {
    /// Creates a set without a protocol, which answers every request with 404.
    pub fn new() -> Self {
        let settings = ProtocolSettings {
            websocket: Arc::new(not_found),
            requests: None,
            hooks: ServerHooks::default(),
            origins: Origins::SameHost,
            proxies: TrustedProxies::default(),
            unprotected: false,
            limits: Limits::default(),
            health: None,
            resume: None,
            accepts_in_outage: false,
        };
        Self { http: NotFound, settings }
    }
}

impl<H> Protocols<H> {
    /// Serves WebSockets with an application, usually a [`Router`](crate::Router). A single consumer is one by
    /// [`consumer`](crate::consumer): `.websocket(consumer(Chat::default))`.
    pub fn websocket(mut self, application: impl Application) -> Self {
        self.settings.websocket = Arc::new(application);
        self
    }

    /// Serves all other requests with a tower service, such as a router of axum. With the feature `axum` its handlers may
    /// take `ConnectInfo<SocketAddr>`, and the channel layer as `extract::CurrentLayer`.
    ///
    /// A router of axum with a state is a service after its `with_state`.
    pub fn http<S>(self, service: S) -> Protocols<S> {
        Protocols { http: service, settings: self.settings }
    }

    /// Serves plain HTTP requests with an application, usually a [`Router`](crate::Router) of
    /// [`HttpConsumer`](crate::HttpConsumer)s. Requests without a route go to the tower service.
    pub fn requests(mut self, application: impl Application) -> Self {
        self.settings.requests = Some(Arc::new(application));
        self
    }

    /// Serves both WebSockets and plain HTTP requests with one application, so that one URL may serve both.
    /// [`Context::is_websocket`](crate::Context::is_websocket) tells them apart.
    pub fn both(mut self, application: impl Application) -> Self {
        self.settings.websocket = Arc::new(application);
        self.settings.requests = Some(Arc::new(self.settings.websocket.clone()));
        self
    }

    /// Runs `hook` before the first connection is served: [`SocketService::startup`].
    pub fn on_startup<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Arc<dyn ChannelLayer>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.settings.hooks.on_startup(hook);
        self
    }

    /// Runs `hook` after the last connection has ended. [`Connections::close`](crate::Connections::close) and
    /// [`serve`](crate::serve) wait for it. Hooks run in reverse order of registration.
    pub fn on_shutdown<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Arc<dyn ChannelLayer>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.settings.hooks.on_shutdown(hook);
        self
    }

    /// Sets the origins whose pages may open sockets. By default only those of the host itself.
    pub fn origins(mut self, origins: impl Into<Origins>) -> Self {
        self.settings.origins = origins.into();
        self
    }

    /// Trusts these proxies with the client's address and origin, wherever either matters: in the origin
    /// check, in [`AllowedHosts`](crate::middleware::AllowedHosts) and [`Limiter`](crate::middleware::Limiter), in
    /// [`Scope::client`](crate::Scope::client), spans and access logs. By default none.
    ///
    /// ```
    /// # use ws_consumer::{Protocols, middleware::TrustedProxies};
    /// let protocols = Protocols::new().trust(TrustedProxies::new(["10.0.0.0/8", "unix:"])?);
    /// # Ok::<(), ws_consumer::middleware::AddressError>(())
    /// ```
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.settings.proxies = proxies;
        self
    }

    /// Permits an application that acts on cookies together with [any origin](Origins::Any). Every page in a user's browser
    /// may then open sockets in the user's name.
    pub fn without_origin_check_for_credentials(mut self) -> Self {
        self.settings.unprotected = true;
        self
    }

    /// Sets the limits of each connection.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Serves the [`websocket`](Self::websocket) application over server-sent events, long polls and polls as well, at the
    /// same URLs, and lets clients resume their sessions after a connection broke, over any transport and in any process that
    /// shares the channel layer. Off by default.
    ///
    /// Consumers need no change; [`resumed`](crate::Consumer::resumed) and [`Scope::transport`](crate::Scope::transport) give
    /// details. Ordinary WebSockets work as before. The [protocol](crate::docs::transports) is documented, and a client for
    /// browsers comes with the crate.
    ///
    /// Pages of other hosts need CORS headers, except for WebSockets. Add them with a layer around the service.
    ///
    /// ```
    /// # use ws_consumer::{Protocols, Router, Resume};
    /// let protocols = Protocols::new().websocket(Router::new()).resume(Resume::default());
    /// ```
    pub fn resume(mut self, resume: Resume) -> Self {
        self.settings.resume = Some(resume);
        self
    }

    /// Accepts new sockets while the channel layer is known to have lost its backend, for applications that are useful
    /// without it. By default they are refused with 503 and `Retry-After`, because they would get no messages from others.
    /// Open sockets and sessions continue in any case.
    pub fn accept_in_outage(mut self) -> Self {
        self.settings.accepts_in_outage = true;
        self
    }

    /// Answers `/healthz` with 200 while the process lives, and `/readyz` with 200 while new clients are taken and the
    /// channel layer answers, otherwise with 503.
    pub fn health_checks(mut self) -> Self {
        self.settings.health = Some(HealthPaths { alive: "/healthz", ready: "/readyz" });
        self
    }

    /// Creates the service, for [`serve`](crate::serve), for axum's `fallback_service`, or for another user of tower
    /// services.
    ///
    /// # Panics
    /// Panics if the application [acts on credentials that browsers add](Application::uses_ambient_credentials) and every
    /// origin is accepted, unless
    /// [that is permitted](Self::without_origin_check_for_credentials).
    #[track_caller]
    pub fn into_service(self, layer: impl ChannelLayer) -> SocketService<H> {
        self.service_on(layer.into_shared())
    }

    #[track_caller]
    fn service_on(self, layer: Arc<dyn ChannelLayer>) -> SocketService<H> {
        let ProtocolSettings { websocket, requests, hooks, origins, proxies, .. } = self.settings;
        let ProtocolSettings { unprotected, limits, health, resume, accepts_in_outage, .. } = self.settings;
        let acts = |application: &dyn Application| application.uses_ambient_credentials();
        // Plain requests of foreign pages are common in HTTP. They are checked only if they carry the user's credentials.
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
        let parts =
            ServiceParts { requests, hooks, layer, proxies, limits, health, resume, accepts_in_outage };
        SocketService::new(application, self.http, parts)
    }
}

impl Default for Protocols {
    fn default() -> Self {
        Self::new()
    }
}

async fn not_found(_: Socket) -> Result<(), Error> {
    Err(Error::Refused(StatusCode::NOT_FOUND))
}

/// An HTTP service that answers every request with 404.
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
