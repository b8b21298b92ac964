//! A guard in front of plain HTTP, as a tower layer.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use tower_layer::Layer;
use tower_service::Service;

use super::guard::{Guard, GuardRequest};

/// Puts a [`Guard`] in front of a service. Made by [`Guard::layer`].
pub struct GuardLayer<G>(Arc<G>);

impl<G> GuardLayer<G> {
    pub(super) fn new(guard: G) -> Self {
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

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
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
