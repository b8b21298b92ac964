//! The requests by which clients open, carry and resume sessions.

mod long_poll;
mod sse;
pub(super) mod websocket;

use bytes::Bytes;
use http::{Extensions, Method, Request};
use hyper::body::Body;

use super::service::SessionService;
use crate::{
    error::BoxError,
    scope::{Scope, Stalled},
    transport::reply::HttpReply,
};

/// Answers a session's request over plain HTTP.
pub(crate) async fn serve<B>(service: SessionService, mut scope: Scope, request: Request<B>) -> HttpReply
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let stalled = scope.extensions.remove::<Stalled>().unwrap_or_default();
    if scope.extensions.is_empty() {
        scope.extensions = Extensions::new(); // the session would keep the empty table
    }
    if *request.method() == Method::POST {
        return long_poll::post(&service, scope, request.into_body()).await;
    }
    drop(request);
    sse::stream(&service, scope, stalled).await
}
