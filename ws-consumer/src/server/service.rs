//! The tower service.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use bytes::Bytes;
use channel_layer::ChannelLayer;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::Either;
use hyper::body::Body;
use tower_service::Service;

use super::{
    access::{AccessEntry, LoggedBody},
    body,
    health::{self, HealthCheck, HealthPaths},
    hooks::ServerHooks,
};
#[cfg(feature = "axum")]
use crate::extract::CurrentLayer;
use crate::{
    application::Application,
    connections::{Connections, EventForwarding},
    error::{BoxError, Result as HookResult},
    limits::Limits,
    middleware::TrustedProxies,
    resume::{self, Resume, SessionParts, SessionService},
    scope::{Protocol, Scope},
    settings::ConnectionSettings,
    socket::{Context, Socket},
    transport::{
        EndLog, ReplyBody, headers,
        reply::HttpReply,
        request as plain_request,
        websocket::{self, WebSocketRequest},
    },
    wire::{Profile, Refuse, Wire},
};

/// A tower service that upgrades WebSockets and passes all other requests on. Made by
/// [`Protocols::into_service`](crate::Protocols::into_service). Clones share one service.
///
/// Works on every server that performs the response's upgrade: [`serve`](crate::serve), hyper, axum.
///
/// # With axum
///
/// Behind the service: [`Protocols::http`](crate::Protocols::http) takes a router of axum, and [`serve`](crate::serve) does
/// the rest: limits, addresses of clients, a reserve of descriptors, and the shutdown.
///
/// ```no_run
/// # use ws_consumer::{Protocols, Router, listen, serve};
/// # async fn run() -> std::io::Result<()> {
/// let pages = axum::Router::new().route("/", axum::routing::get(async || "the page"));
/// let sockets = Router::new();
/// let service = Protocols::new().websocket(sockets).http(pages).into_service(channel_layer::MemoryLayer::default());
/// let stop = async { _ = tokio::signal::ctrl_c().await };
/// serve(listen("127.0.0.1:8000").await?, service).with_graceful_shutdown(stop).await
/// # }
/// ```
///
/// In front of the service, where `axum::serve` has to stay:
///
/// | mount | path that [`Router`](crate::Router) and [`Scope::path`](crate::Scope::path) see |
/// |---|---|
/// | `fallback_service(service)` | the whole path |
/// | `route_service("/ws/{room}", service)` | the whole path; parameters of axum's pattern are not passed on |
/// | `nest_service("/ws", service)` | the path without `/ws`; the whole one is in the [extensions](crate::Scope::extensions), as axum's `OriginalUri` |
///
/// A value that axum's `Extension` layer sets reaches consumers as [`Scope::state`](crate::Scope::state).
///
/// ```no_run
/// # use ws_consumer::{Drain, Protocols, Router, listen};
/// # async fn run() -> std::io::Result<()> {
/// let service = Protocols::new().websocket(Router::new()).into_service(channel_layer::MemoryLayer::default());
/// let connections = service.connections().clone();
/// let app = axum::Router::new()
///     .route("/", axum::routing::get(|| async { "the page" }))
///     .fallback_service(service);
/// // With the feature `axum` this tells limits and logs the addresses of clients.
/// let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
///
/// let closing = connections.clone();
/// let stop = async move {
///     _ = tokio::signal::ctrl_c().await;
///     closing.start_drain(Drain::going_away()); // 1001 to all, while axum waits for event streams and polls to end
/// };
/// let listener = listen("127.0.0.1:8000").await?;
/// let served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future();
/// let deadline = async {
///     connections.closed().await; // every `disconnect` hook has run, for which axum does not wait
///     tokio::time::sleep(std::time::Duration::from_secs(5)).await;
/// };
/// tokio::select! {
///     served = served => served?, // every response has ended
///     () = deadline => {}         // a client has begun a request and does not end it
/// }
/// connections.closed().await;
/// # Ok(()) }
/// ```
///
/// A drain must not wait for `axum::serve` to return, which it does not while an event stream or a long poll is open. axum
/// waits without limit for the application's own responses, and for clients that send half of a request's head; hence the
/// deadline.
///
/// [`serve`](crate::serve) keeps a reserve of descriptors for the channel layer; so does axum with a `Listener` whose `accept`
/// calls [`accept`](crate::accept).
///
/// Each request is one entry of the log, with the target `ws_consumer::access` and the level INFO, once its response has been
/// sent: `method`, `path`, `client`, `status`, `bytes` (of the body) and `seconds`. The end of a WebSocket is another one,
/// with the `code` of its close in place of `status`, and without `bytes`, which are not counted. A resumable session has one
/// such entry when it ends, in the process that runs it, whatever carried it; its carriers have none. Its `method` is GET, its
/// `path` and `client` are those of the request that opened it. Paths are logged percent-encoded, and without their query,
/// where secrets travel: no byte in them can end a line or start an escape sequence.
pub struct SocketService<H> {
    shared: Arc<ServiceState>,
    http: H,
}

struct ServiceState {
    application: Arc<dyn Application>,
    /// Resumable sessions, if they are turned on.
    sessions: Option<SessionService>,
    /// The application of plain requests, which serves those that it claims.
    requests: Option<Arc<dyn Application>>,
    hooks: Arc<ServerHooks>,
    proxies: TrustedProxies,
    /// The settings of connections without [options](crate::ConnectionOptions).
    settings: ConnectionSettings,
    connections: Connections,
    health: Option<HealthPaths>,
    events: EventForwarding,
    /// Whether new sockets are admitted while the layer has lost its backend.
    accepts_in_outage: bool,
}

/// The parts of a service, without its applications.
pub(super) struct ServiceParts {
    pub(super) requests: Option<Arc<dyn Application>>,
    pub(super) hooks: ServerHooks,
    pub(super) layer: Arc<dyn ChannelLayer>,
    pub(super) proxies: TrustedProxies,
    pub(super) limits: Limits,
    pub(super) health: Option<HealthPaths>,
    pub(super) resume: Option<Resume>,
    pub(super) accepts_in_outage: bool,
}

impl<H> SocketService<H> {
    pub(super) fn new(application: impl Application, http: H, parts: ServiceParts) -> Self {
        let ServiceParts { requests, hooks, layer, proxies, limits, health, resume, accepts_in_outage } =
            parts;
        let (connections, hooks) = (Connections::default(), Arc::new(hooks));
        connections.set_drained_hook({
            let (hooks, layer) = (hooks.clone(), layer.clone());
            Box::new(move || {
                let (hooks, layer) = (hooks.clone(), layer.clone());
                Box::pin(async move { hooks.shutdown(&layer).await })
            })
        });
        let application: Arc<dyn Application> = Arc::new(application);
        let mut layers = vec![layer.clone()];
        layers.extend([&application].into_iter().chain(&requests).flat_map(|served| served.own_layers()));
        let events = connections.set_layers(layers);
        let settings = ConnectionSettings::new(layer, limits);
        let sessions = resume.map(|resume| {
            let (application, connections) = (application.clone(), connections.clone());
            let settings = settings.clone();
            SessionService::new(SessionParts {
                resume,
                application,
                settings,
                connections,
                accepts_in_outage,
            })
            .expect("the system has randomness once it runs programs")
        });
        let shared = ServiceState {
            application,
            sessions,
            requests,
            hooks,
            proxies,
            settings,
            connections,
            health,
            events,
            accepts_in_outage,
        };
        Self { shared: Arc::new(shared), http }
    }

    pub(super) fn limits(&self) -> &Limits {
        self.shared.settings.limits()
    }

    /// Returns the registry of this service's connections.
    pub fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// Runs the start-up hooks, unless they have run. The first request waits for them too. A server that calls this before
    /// it listens does not start if they fail.
    ///
    /// # Errors
    /// Returns the error of the first hook that failed. The call may be repeated.
    pub fn startup(&self) -> impl Future<Output = HookResult<()>> + Send + use<H> {
        let shared = self.shared.clone(); // not the service: its HTTP side need not be `Sync`
        async move { shared.hooks.startup(shared.settings.layer()).await }
    }

    /// Returns the channel layer.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        self.shared.settings.layer()
    }
}

impl<H: Clone> Clone for SocketService<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), http: self.http.clone() }
    }
}

impl ServiceState {
    fn open(
        &self,
        application: &dyn Application,
        settings: ConnectionSettings,
    ) -> impl FnOnce(Scope) -> Wire {
        let layer = self.connections.layer_number(settings.layer());
        move |scope| {
            let log = match scope.protocol {
                Protocol::WebSocket => EndLog::begin(&scope),
                Protocol::Http => EndLog::default(),
            };
            Context::open_with(Profile { layer, ..Profile::CLIENT }, scope, settings, |context| {
                context.set_reports(self.connections.reports());
                log.call(application, context)
            })
        }
    }

    /// Returns the application that claims this plain request, with the request's scope.
    fn application_for<B>(&self, request: &Request<B>) -> Option<(&dyn Application, Scope)> {
        let application = self.requests.as_deref()?;
        let scope = plain_request::scope(request);
        application.claims(&scope).then_some((application, scope))
    }

    /// Runs the start-up hooks. Returns whether the service may serve.
    async fn is_up(&self) -> bool {
        let up = self.hooks.startup(self.settings.layer()).await;
        up.inspect_err(|error| tracing::error!(error = %error.causes(), "a start-up hook failed")).is_ok()
    }

    fn websocket<B, R>(&self, request: Request<B>) -> ReplyFuture<R> {
        if let Some(refuse) = websocket::refusal(&request) {
            return Box::pin(async { Ok(reply(refuse)) });
        }
        self.events.start(&self.connections);
        let carries = resume::is_offered(request.headers());
        let request = WebSocketRequest::from(request);
        let settings = self.application.settings_at(&request.scope, self.settings.clone());
        let answer = match self.sessions.clone().filter(|_| carries) {
            Some(sessions) => {
                let limits = settings.carrier_limits().clone();
                let open = |scope| {
                    Context::open_with(resume::CARRIER, scope, settings, |context| {
                        resume::carry(sessions, Socket::from_context(context))
                    })
                };
                request.serve(limits, &self.connections, open)
            }
            None => {
                if self.connections.is_cut_off(settings.layer()) && !self.accepts_in_outage {
                    return Box::pin(async { Ok(reply(Refuse::unavailable())) });
                }
                let limits = settings.shared_limits().clone();
                let open = self.open(&*self.application, settings);
                request.serve(limits, &self.connections, open)
            }
        };
        Box::pin(async { Ok(answer.await.map_or_else(|_| failed(), |reply| reply.map(Either::Left))) })
    }

    /// Returns the sessions that claim this request, with the request's scope.
    fn session_for<B>(&self, request: &Request<B>) -> Option<(SessionService, Scope)> {
        let sessions = self.sessions.as_ref().filter(|_| resume::is_session_request(request))?;
        let scope = resume::scope(request);
        sessions.claims(&scope).then(|| (sessions.clone(), scope))
    }

    fn health<R>(&self, check: HealthCheck) -> ReplyFuture<R> {
        let connections = self.connections.clone();
        Box::pin(async {
            let (status, text) = health::answer(check, connections).await;
            let mut response = Response::new(Either::Left(ReplyBody::whole(text.into())));
            *response.status_mut() = status;
            Ok(response)
        })
    }
}

impl<B, H, R> Service<Request<B>> for SocketService<H>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    R: 'static,
    H: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
{
    type Response = Response<LoggedBody<Either<ReplyBody, R>>>;
    type Error = Infallible;
    type Future = ResponseFuture<LoggedBody<Either<ReplyBody, R>>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let proxies = &self.shared.proxies;
        if !proxies.is_none() {
            request.extensions_mut().insert(proxies.clone());
        }
        let access = AccessEntry::begin(&request);
        let (version, connections) = (request.version(), self.shared.connections.clone());
        let answer = if self.shared.hooks.are_up() { self.answer(request) } else { self.start_up(request) };
        Box::pin(async move {
            let mut answer = answer.await?;
            close_if_draining(&mut answer, version, &connections);
            Ok(AccessEntry::log_with(access, answer))
        })
    }
}

type ResponseFuture<B> = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;
type ReplyFuture<R> = ResponseFuture<Either<ReplyBody, R>>;

impl<H> SocketService<H> {
    /// Answers a request after the start-up hooks have run.
    fn start_up<B, R>(&self, request: Request<B>) -> ReplyFuture<R>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        R: 'static,
        H: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
        H::Future: Send,
    {
        let (service, shared) = (self.clone(), self.shared.clone());
        // In a task, so that a client that leaves does not cancel them.
        let up = tokio::spawn(async move { shared.is_up().await });
        Box::pin(async move {
            match up.await {
                Ok(true) => service.answer(request).await,
                _ => Ok(failed()),
            }
        })
    }

    fn answer<B, R>(
        &self,
        #[cfg_attr(not(feature = "axum"), allow(unused_mut))] mut request: Request<B>,
    ) -> ReplyFuture<R>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        R: 'static,
        H: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
        H::Future: Send,
    {
        let shared = &self.shared;
        if !headers::are_sound(request.headers()) {
            return refused(StatusCode::BAD_REQUEST.into());
        }
        if let Some(refuse) = body::unsupported_transfer(request.headers()) {
            return refused(refuse);
        }
        let check = shared.health.and_then(|paths| paths.check(request.uri().path()));
        if check.is_none() && request.extensions().get::<DescriptorsShort>().is_some() {
            return refused(descriptors_short());
        }
        if websocket::is_asked_for(&request) {
            return shared.websocket(request);
        }
        if let Some((sessions, scope)) = shared.session_for(&request) {
            if let Some(refuse) = body::unsupported_content(request.headers()) {
                return refused(refuse);
            }
            shared.events.start(&shared.connections);
            return Box::pin(async { Ok(resume::serve(sessions, scope, request).await.map(Either::Left)) });
        }
        if let Some(check) = check {
            return shared.health(check);
        }
        if let Some((application, scope)) = shared.application_for(&request) {
            if let Some(refuse) = body::unsupported_content(request.headers()) {
                return refused(refuse);
            }
            shared.events.start(&shared.connections);
            let settings = application.settings_at(&scope, shared.settings.clone());
            let limits = settings.shared_limits().clone();
            let open = shared.open(application, settings);
            let answer = plain_request::serve(scope, request.into_body(), &limits, &shared.connections, open);
            return Box::pin(async {
                Ok(answer.await.map_or_else(|_| failed(), |reply| reply.map(Either::Left)))
            });
        }
        #[cfg(feature = "axum")]
        {
            crate::scope::insert_connect_info(request.extensions_mut());
            request.extensions_mut().insert(CurrentLayer(shared.settings.layer().clone()));
        }
        let mut http = self.http.clone();
        Box::pin(async move {
            poll_fn(|cx| http.poll_ready(cx)).await?;
            Ok(http.call(request).await?.map(Either::Right))
        })
    }
}

/// Closes the connection of a client that is refused because the server shuts down, so that it retries over
/// another connection, which may lead to another server.
fn close_if_draining<R>(answer: &mut Response<R>, version: Version, connections: &Connections) {
    let is_refused = answer.status() == StatusCode::SERVICE_UNAVAILABLE && connections.is_closing();
    if is_refused && version <= Version::HTTP_11 {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn refused<R>(refuse: Refuse) -> ReplyFuture<R> {
    Box::pin(async { Ok(reply(refuse)) })
}

/// The extension of a request that is refused for lack of descriptors, unless it is a health check.
#[derive(Clone, Copy)]
pub(super) struct DescriptorsShort;

fn descriptors_short() -> Refuse {
    let mut refuse = Refuse::from(StatusCode::SERVICE_UNAVAILABLE);
    refuse.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refuse
}

fn reply<R>(refuse: Refuse) -> Response<Either<ReplyBody, R>> {
    HttpReply::from(refuse).map(Either::Left)
}

fn failed<R>() -> Response<Either<ReplyBody, R>> {
    reply(StatusCode::INTERNAL_SERVER_ERROR.into())
}
