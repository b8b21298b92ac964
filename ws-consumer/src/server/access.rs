//! One line per request, for the target `ws_consumer::access`.
//!
//! Paths are logged percent-encoded, and without their query, where secrets travel: no byte in them can end a line or start
//! an escape sequence.

use http::{Method, Request, StatusCode};
use tokio::time::Instant;

use crate::scope::printable;

/// A request under way.
pub(super) struct Access {
    method: Method,
    path: String,
    began: Instant,
}

impl Access {
    /// Nothing, at no price, if nobody listens.
    pub(super) fn begin<B>(request: &Request<B>) -> Option<Self> {
        tracing::enabled!(target: "ws_consumer::access", tracing::Level::INFO).then(|| Self {
            method: request.method().clone(),
            path: printable(request.uri().path()).into_owned(),
            began: Instant::now(),
        })
    }

    pub(super) fn end(self, status: StatusCode) {
        let (method, path, took) = (self.method.as_str(), self.path, self.began.elapsed());
        tracing::info!(target: "ws_consumer::access", method, path, status = status.as_u16(), ?took);
    }
}
