//! One line per request, for the target `ws_consumer::access`.

use std::net::IpAddr;

use http::{Method, Request, StatusCode};
use tokio::time::Instant;
use tracing::field::display;

use crate::{
    middleware::TrustedProxies,
    scope::{peer, printable},
};

/// A request under way.
pub(super) struct Access {
    method: Method,
    path: String,
    /// The client's address, if known; that of a proxy, unless the proxy is trusted.
    client: Option<IpAddr>,
    began: Instant,
}

impl Access {
    /// Returns `None` at no cost if no subscriber is interested.
    pub(super) fn begin<B>(request: &Request<B>) -> Option<Self> {
        tracing::enabled!(target: "ws_consumer::access", tracing::Level::INFO).then(|| Self {
            method: request.method().clone(),
            path: printable(request.uri().path()).into_owned(),
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
    TrustedProxies::default().or_of(extensions).client(peer(extensions), request.headers())
}
