//! The tower service.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use channel_layer::ChannelLayer;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    access::Access,
    health::{self, Check, HealthPaths},
};
use crate::{
    application::Application,
    socket::Socket,
    transport::{Limits, Sockets, websocket},
    wire::OutputLimits,
};

/// A tower service that upgrades WebSockets and passes everything else on. Made by
/// [`Protocols::into_service`](crate::Protocols::into_service); clones are the same service.
///
/// Works wherever the response's upgrade is carried through: on [`serve`](crate::serve), on hyper, in axum:
///
/// ```no_run
/// # use std::sync::Arc;
/// # use ws_consumer::{Protocols, Router};
/// # async fn run(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// let layer = Arc::new(channel_layer::MemoryLayer::default());
/// let sockets = Protocols::new().websocket(Router::new()).into_service(layer);
/// let app = axum::Router::new()
///     .route("/", axum::routing::get(|| async { "the page" }))
///     .fallback_service(sockets.clone());
/// axum::serve(listener, app).await?;
/// sockets.sockets().close().await; // 1001 to all, and every `disconnect` has run
/// # Ok(()) }
/// ```
pub struct SocketService<H> {
    shared: Arc<Shared>,
    http: H,
}

struct Shared {
    application: Box<dyn Application>,
    layer: Arc<dyn ChannelLayer>,
    /// A part of the limits, shared by the connections.
    output: Arc<OutputLimits>,
    limits: Arc<Limits>,
    sockets: Sockets,
    health: Option<HealthPaths>,
}

impl<H> SocketService<H> {
    pub(super) fn new(
        application: impl Application,
        http: H,
        layer: Arc<dyn ChannelLayer>,
        limits: Limits,
        health: Option<HealthPaths>,
    ) -> Self {
        let shared = Shared {
            application: Box::new(application),
            layer,
            output: Arc::new(limits.output.clone()),
            limits: Arc::new(limits),
            sockets: Sockets::default(),
            health,
        };
        Self { shared: Arc::new(shared), http }
    }

    /// All connections of this service.
    pub fn sockets(&self) -> &Sockets {
        &self.shared.sockets
    }

    /// The channel layer.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.shared.layer
    }
}

impl<H: Clone> Clone for SocketService<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), http: self.http.clone() }
    }
}

impl Shared {
    fn upgrade<B>(&self, request: Request<B>) -> oneshot::Receiver<websocket::Answer> {
        let open = |scope| {
            Socket::open(scope, self.layer.clone(), |mut socket| {
                socket.set_output_limits(self.output.clone());
                self.application.call(socket)
            })
        };
        websocket::upgrade(request, self.limits.clone(), &self.sockets, open)
    }
}

impl Shared {
    fn websocket<B, R>(&self, request: Request<B>) -> Answering<R> {
        if let Some(refuse) = websocket::refusal(&request) {
            return Box::pin(async { Ok(websocket::answer(refuse).map(Either::Left)) });
        }
        let answer = self.upgrade(request);
        Box::pin(async {
            let failed = |_| websocket::plain(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(answer.await.unwrap_or_else(failed).map(Either::Left))
        })
    }

    fn health<R>(&self, check: Check) -> Answering<R> {
        let (sockets, layer) = (self.sockets.clone(), self.layer.clone());
        Box::pin(async {
            let (status, word) = health::answer(check, sockets, layer).await;
            let mut response = Response::new(Full::from(word));
            *response.status_mut() = status;
            Ok(response.map(Either::Left))
        })
    }
}

impl<B, H, R> Service<Request<B>> for SocketService<H>
where
    B: Send + 'static,
    R: 'static,
    H: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
{
    type Response = Response<Either<Full<Bytes>, R>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let access = Access::begin(&request);
        let answer = self.answer(request);
        Box::pin(async move {
            let answer = answer.await;
            if let (Some(access), Ok(answer)) = (access, &answer) {
                access.end(answer.status());
            }
            answer
        })
    }
}

type Answering<R> =
    Pin<Box<dyn Future<Output = Result<Response<Either<Full<Bytes>, R>>, Infallible>> + Send>>;

impl<H> SocketService<H> {
    fn answer<B, R>(&self, request: Request<B>) -> Answering<R>
    where
        B: Send + 'static,
        R: 'static,
        H: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
        H::Future: Send,
    {
        if websocket::is_asked_for(&request) {
            return self.shared.websocket(request);
        }
        if let Some(check) = self.shared.health.and_then(|paths| paths.check(request.uri().path())) {
            return self.shared.health(check);
        }
        let mut http = self.http.clone();
        Box::pin(async move {
            poll_fn(|cx| http.poll_ready(cx)).await?;
            Ok(http.call(request).await?.map(Either::Right))
        })
    }
}
