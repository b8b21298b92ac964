//! The access log: an entry for each request, and one for the end of each WebSocket, with the target
//! `ws_consumer::access`.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tracing::field::display;

use crate::{
    error::printable,
    middleware::TrustedProxies,
    scope::{original_uri, peer},
    wire::{Connection, Running},
};

/// A request in progress, logged when it is dropped.
pub(super) struct AccessEntry {
    request: LoggedRequest,
    /// `None` until the response is known.
    status: Option<StatusCode>,
    /// The size of the body so far.
    bytes: u64,
}

impl AccessEntry {
    /// Begins an entry. `None`, at no cost, if no subscriber is interested.
    pub(super) fn begin<B>(request: &Request<B>) -> Option<Box<Self>> {
        let request = LoggedRequest::begin(request)?;
        Some(Box::new(Self { request, status: None, bytes: 0 }))
    }

    /// Logs the entry at the end of the response's body.
    pub(super) fn log_with<B>(entry: Option<Box<Self>>, response: Response<B>) -> Response<LoggedBody<B>> {
        let status = response.status();
        let entry = entry.map(|mut entry| {
            entry.status = Some(status);
            entry
        });
        response.map(|body| LoggedBody { body, entry })
    }
}

impl Drop for AccessEntry {
    fn drop(&mut self) {
        let LoggedRequest { method, path, client, began } = &self.request;
        let (method, client, seconds) = (method.as_str(), client.map(display), began.elapsed().as_secs_f64());
        let (status, bytes) = (self.status.map(|status| status.as_u16()), self.bytes);
        tracing::info!(target: "ws_consumer::access", method, path, client, status, bytes, seconds);
    }
}

/// The part of a request that both entries show.
pub(super) struct LoggedRequest {
    method: Method,
    path: String,
    /// The client's address, if known. The proxy's, unless the proxy is trusted.
    client: Option<IpAddr>,
    began: Instant,
}

impl LoggedRequest {
    /// Returns `None`, at no cost, if no subscriber is interested.
    pub(super) fn begin<B>(request: &Request<B>) -> Option<Self> {
        tracing::enabled!(target: "ws_consumer::access", tracing::Level::INFO).then(|| Self {
            method: request.method().clone(),
            path: printable(original_uri(request).path()).into_owned(),
            client: client(request),
            began: Instant::now(),
        })
    }

    /// Logs the end of a WebSocket that was accepted.
    pub(super) fn log_end(self, connection: Arc<Connection>, running: Running) -> Running {
        Box::pin(async move {
            let outcome = running.await;
            if let Some(code) = connection.final_code(&outcome) {
                let Self { method, path, client, began } = self;
                let (method, client) = (method.as_str(), client.map(display));
                let seconds = began.elapsed().as_secs_f64();
                tracing::info!(target: "ws_consumer::access", method, path, client, code, seconds);
            }
            outcome
        })
    }
}

fn client<B>(request: &Request<B>) -> Option<IpAddr> {
    let extensions = request.extensions();
    TrustedProxies::default().or_from(extensions).client(peer(extensions), request.headers())
}

pin_project! {
    /// The body of a response, counted for the access log if a subscriber is interested.
    pub struct LoggedBody<B> {
        #[pin]
        body: B,
        entry: Option<Box<AccessEntry>>,
    }
}

impl<B: Body<Data = Bytes>> Body for LoggedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let (Some(entry), Some(Ok(frame))) = (this.entry, &frame) {
            entry.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
