//! The body of a session's request, read within limits.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Body;

use super::{registry::Reservation, session::Session};
use crate::{error::BoxError, transport::min_rate_body::MinRateBody, wire::Refuse};

/// Bytes that are read before the client is admitted.
const UNADMITTED: usize = 16 << 10;

/// A body of a limited number of bytes, and the part of it that has arrived.
pub(super) struct BodyReader<B> {
    body: MinRateBody<B>,
    data: Vec<u8>,
    limit: usize,
    reservation: Reservation<Session>,
}

enum BodyProgress {
    End,
    Full,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> BodyReader<B> {
    pub(super) fn new(body: MinRateBody<B>, limit: usize, reservation: Reservation<Session>) -> Self {
        Self { body, data: Vec::new(), limit, reservation }
    }

    /// Reads a little of what has arrived. Returns whether that is the whole body.
    pub(super) async fn is_complete(&mut self) -> Result<bool, Refuse> {
        let limit = UNADMITTED.min(self.limit);
        poll_fn(|cx| match self.poll_read(cx, limit) {
            Poll::Ready(Ok(BodyProgress::End)) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(refuse)) => Poll::Ready(Err(refuse)),
            Poll::Ready(Ok(BodyProgress::Full)) | Poll::Pending => Poll::Ready(Ok(false)),
        })
        .await
    }

    /// Waits for the rest. The bytes count until the reservation is dropped.
    pub(super) async fn read_all(mut self) -> Result<(Bytes, Reservation<Session>), Refuse> {
        let limit = self.limit;
        match poll_fn(|cx| self.poll_read(cx, limit)).await? {
            BodyProgress::End => Ok((self.data.into(), self.reservation)),
            BodyProgress::Full => Err(StatusCode::PAYLOAD_TOO_LARGE.into()),
        }
    }

    /// Ready at the end, or with more than `limit` bytes.
    fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<Result<BodyProgress, Refuse>> {
        while self.data.len() <= limit {
            match self.body.poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(BodyProgress::End)),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers have no meaning here.
                    let Ok(chunk) = frame.into_data() else { continue };
                    if !self.put(&chunk) {
                        return Poll::Ready(Err(Refuse::unavailable()));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let is_late = error.kind() == io::ErrorKind::TimedOut;
                    let status = if is_late { StatusCode::REQUEST_TIMEOUT } else { StatusCode::BAD_REQUEST };
                    return Poll::Ready(Err(status.into()));
                }
            }
        }
        Poll::Ready(Ok(BodyProgress::Full))
    }

    /// Appends a copy: a chunk may be a small part of a large buffer. Returns false if there is no room.
    fn put(&mut self, chunk: &Bytes) -> bool {
        let before = self.data.capacity();
        self.data.extend_from_slice(chunk);
        let is_small = self.data.capacity() <= UNADMITTED;
        is_small || self.data.capacity() == before || self.reservation.resize(self.data.capacity())
    }
}
