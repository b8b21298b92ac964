//! The access log: an entry for each request, with the target `ws_consumer::access`.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tracing::field::display;

use crate::transport::LoggedRequest;

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
