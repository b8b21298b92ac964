//! The [`Guard`] trait, and its use in front of an application and in front of a tower service.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use channel_layer::ChannelLayer;
use http::{Extensions, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use super::request::GuardRequest;
use crate::{
    application::Application,
    error::Result,
    scope::Scope,
    settings::ConnectionSettings,
    socket::Context,
    wire::{Refuse, Running},
};

/// A check that runs before the application. A guard works in front of sockets ([`around`](Self::around)) and in
/// front of plain HTTP ([`layer`](Self::layer)).
///
/// Findings are stored in [`extensions`](GuardRequest::extensions), by type.
///
/// ```
/// use http::StatusCode;
/// use ws_consumer::{Refuse, Router, middleware::{Guard, GuardRequest}};
///
/// struct OpeningHours { opens: u8 }
/// #[derive(Clone)]
/// struct Greeting(&'static str);
///
/// impl Guard for OpeningHours {
///     async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
///         if self.opens > 9 {
///             return Err(StatusCode::SERVICE_UNAVAILABLE.into());
///         }
///         request.extensions.insert(Greeting("good morning"));
///         Ok(())
///     }
/// }
///
/// let application = OpeningHours { opens: 9 }.around(Router::new());
/// # fn check(_: impl ws_consumer::Application) {}
/// # check(application);
/// ```
pub trait Guard: Send + Sync + 'static {
    /// Admits a client, or returns the response that refuses it.
    fn admit(&self, request: &mut GuardRequest<'_>) -> impl Future<Output = Result<(), Refuse>> + Send;

    /// Runs after a service or an application has served a plain HTTP request: the headers of the response are known,
    /// and the response is not sent yet. `extensions` are those of the request. Not called for sockets.
    fn finish(&self, extensions: &Extensions, status: StatusCode) -> impl Future<Output = ()> + Send {
        let _ = (extensions, status);
        async {}
    }

    /// Runs the application for an admitted client.
    fn accompany(&self, context: Context, inner: &Arc<dyn Application>) -> Running {
        inner.call(context)
    }

    /// Whether the guard acts on credentials that browsers add to requests by themselves, such as cookies.
    fn uses_ambient_credentials(&self) -> bool {
        false
    }

    /// Whether the guard refuses pages of foreign origins.
    fn checks_origin(&self) -> bool {
        false
    }

    /// Puts the guard in front of an application.
    fn around(self, inner: impl Application) -> impl Application
    where
        Self: Sized,
    {
        Guarded::new(self, inner)
    }

    /// Returns a tower layer that puts the guard in front of a service.
    fn layer(self) -> GuardLayer<Self>
    where
        Self: Sized,
    {
        GuardLayer::new(self)
    }

    /// Combines two guards: this one runs first, then `next`.
    fn and<G: Guard>(self, next: G) -> And<Self, G>
    where
        Self: Sized,
    {
        And(self, next)
    }
}

/// Two guards, one after the other. Made by [`Guard::and`].
#[derive(Clone, Debug)]
pub struct And<A, B>(A, B);

impl<A: Guard, B: Guard> Guard for And<A, B> {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        self.0.admit(request).await?;
        self.1.admit(request).await
    }

    async fn finish(&self, extensions: &Extensions, status: StatusCode) {
        self.1.finish(extensions, status).await;
        self.0.finish(extensions, status).await;
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.0.uses_ambient_credentials() || self.1.uses_ambient_credentials()
    }

    fn checks_origin(&self) -> bool {
        self.0.checks_origin() || self.1.checks_origin()
    }

    fn around(self, inner: impl Application) -> impl Application {
        self.0.around(self.1.around(inner))
    }
}

/// The time limit of [`Guard::finish`], equal to that of an application's decision.
const FINISH: Duration = Duration::from_secs(10);

/// An application with a guard in front. Made by [`Guard::around`].
struct Guarded<G> {
    parts: Arc<GuardedParts<G>>,
}

struct GuardedParts<G> {
    guard: G,
    inner: Arc<dyn Application>,
}

impl<G: Guard> Guarded<G> {
    fn new(guard: G, inner: impl Application) -> Self {
        Self { parts: Arc::new(GuardedParts { guard, inner: Arc::new(inner) }) }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<G: Guard> Application for Guarded<G> {
    fn call(&self, context: Context) -> Running {
        Box::pin(GuardedTask::Pending(Box::pin(admit(self.parts.clone(), context))))
    }

    fn claims(&self, scope: &Scope) -> bool {
        self.parts.inner.claims(scope)
    }

    fn settings_at(&self, scope: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        self.parts.inner.settings_at(scope, around)
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        self.parts.inner.own_layers()
    }

    fn uses_ambient_credentials(&self) -> bool {
        let GuardedParts { guard, inner } = &*self.parts;
        let acts = guard.uses_ambient_credentials() || inner.uses_ambient_credentials();
        acts && !guard.checks_origin()
    }

    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        let GuardedParts { guard, inner } = &*self.parts;
        let acts = guard.uses_ambient_credentials() || inner.uses_ambient_credentials_at(scope);
        acts && !guard.checks_origin()
    }
}

/// Returns the running application, or `None` if the client was refused.
async fn admit<G: Guard>(parts: Arc<GuardedParts<G>>, mut context: Context) -> Result<Option<Running>> {
    let connection = context.connection().clone();
    let admitted = parts.guard.admit(&mut GuardRequest::from_connection(&mut context, &connection)).await;
    match admitted {
        Ok(()) => {
            if !context.is_websocket() {
                finish_later(parts.clone(), &context);
            }
            Ok(Some(parts.guard.accompany(context, &parts.inner)))
        }
        Err(refuse) => context.refuse(refuse).await.map(|()| None),
    }
}

/// Makes the response to a plain request wait for the guard, as it does behind a layer.
fn finish_later<G: Guard>(parts: Arc<GuardedParts<G>>, context: &Context) {
    let extensions = context.scope().extensions.clone();
    context.connection().on_finish(Box::new(|status| {
        Box::pin(async move {
            if timeout(FINISH, parts.guard.finish(&extensions, status)).await.is_err() {
                tracing::warn!("a guard was not done with an answer in time");
            }
        })
    }));
}

/// A guarded connection. Written by hand: the state of the admission is freed once the client is admitted, and from
/// then on a guard costs a pointer.
enum GuardedTask {
    Pending(Pin<Box<dyn Future<Output = Result<Option<Running>>> + Send>>),
    Running(Running),
}

impl Future for GuardedTask {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<()>> {
        loop {
            match &mut *self {
                Self::Running(running) => return running.as_mut().poll(cx),
                Self::Pending(admit) => match ready!(admit.as_mut().poll(cx))? {
                    Some(running) => *self = Self::Running(running),
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}

/// Puts a [`Guard`] in front of a service. Made by [`Guard::layer`].
pub struct GuardLayer<G>(Arc<G>);

impl<G> GuardLayer<G> {
    fn new(guard: G) -> Self {
        Self(Arc::new(guard))
    }
}

impl<G> Clone for GuardLayer<G> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<G, S> Layer<S> for GuardLayer<G> {
    type Service = GuardService<G, S>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService { guard: self.0.clone(), inner }
    }
}

/// A service with a [`Guard`] in front.
pub struct GuardService<G, S> {
    guard: Arc<G>,
    inner: S,
}

impl<G, S: Clone> Clone for GuardService<G, S> {
    fn clone(&self) -> Self {
        Self { guard: self.guard.clone(), inner: self.inner.clone() }
    }
}

impl<G, S, B, R> Service<Request<B>> for GuardService<G, S>
where
    G: Guard,
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<Either<Full<Bytes>, R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(serve(self.guard.clone(), self.inner.clone(), request))
    }
}

async fn serve<G, S, B, R>(
    guard: Arc<G>,
    mut inner: S,
    request: Request<B>,
) -> Result<Response<Either<Full<Bytes>, R>>, S::Error>
where
    G: Guard,
    S: Service<Request<B>, Response = Response<R>>,
{
    let (mut parts, body) = request.into_parts();
    let mut request = GuardRequest::from_request(&mut parts);
    let admitted = guard.admit(&mut request).await;
    let hooks = request.into_hooks();
    let mut response = match admitted {
        Err(refuse) => {
            let mut response = Response::new(Either::Left(Full::new(refuse.body)));
            (*response.status_mut(), *response.headers_mut()) = (refuse.status, refuse.headers);
            response
        }
        Ok(()) => {
            let extensions = parts.extensions.clone();
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            let response = inner.call(Request::from_parts(parts, body)).await?;
            guard.finish(&extensions, response.status()).await;
            response.map(Either::Right)
        }
    };
    hooks.into_iter().for_each(|hook| hook(response.headers_mut()));
    Ok(response)
}
