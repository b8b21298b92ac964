//! The access log: one entry per request, with the target `ws_consumer::access`.

use std::net::IpAddr;

use http::{Method, Request, StatusCode};
use tokio::time::Instant;
use tracing::field::display;

use crate::{
    error::printable,
    middleware::TrustedProxies,
    scope::{original_uri, peer},
};

/// A request in progress, to be logged.
pub(super) struct AccessEntry {
    method: Method,
    path: String,
    /// The client's address, if known. The proxy's, unless the proxy is trusted.
    client: Option<IpAddr>,
    began: Instant,
}

impl AccessEntry {
    /// Begins an entry. `None`, at no cost, if no subscriber is interested.
    pub(super) fn begin<B>(request: &Request<B>) -> Option<Self> {
        tracing::enabled!(target: "ws_consumer::access", tracing::Level::INFO).then(|| Self {
            method: request.method().clone(),
            path: printable(original_uri(request).path()).into_owned(),
            client: client(request),
            began: Instant::now(),
        })
    }

    pub(super) fn end(self, status: StatusCode) {
        let Self { method, path, client, began } = self;
        let (method, client, took) = (method.as_str(), client.map(display), began.elapsed());
        tracing::info!(target: "ws_consumer::access", method, path, client, status = status.as_u16(), ?took);
    }
}

fn client<B>(request: &Request<B>) -> Option<IpAddr> {
    let extensions = request.extensions();
    TrustedProxies::default().or_from(extensions).client(peer(extensions), request.headers())
}
