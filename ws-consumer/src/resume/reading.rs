//! The body of a session's request, on its way in.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Body;

use super::{registry::Reading, service::unavailable};
use crate::{error::BoxError, transport::min_rate_body::MinRateBody, wire::Refuse};

/// Bytes that are read before the client is checked.
const UNSEEN: usize = 16 << 10;

/// A body of a limited number of bytes, as far as it has arrived.
pub(super) struct Intake<B> {
    body: MinRateBody<B>,
    data: Vec<u8>,
    most: usize,
    reading: Reading,
}

enum Part {
    End,
    Full,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Intake<B> {
    pub(super) fn new(body: MinRateBody<B>, most: usize, reading: Reading) -> Self {
        Self { body, data: Vec::new(), most, reading }
    }

    /// Takes what is there already, a little of it. Returns true if that is all.
    pub(super) async fn is_there(&mut self) -> Result<bool, Refuse> {
        let most = UNSEEN.min(self.most);
        poll_fn(|cx| match self.poll_take(cx, most) {
            Poll::Ready(Ok(Part::End)) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(refuse)) => Poll::Ready(Err(refuse)),
            Poll::Ready(Ok(Part::Full)) | Poll::Pending => Poll::Ready(Ok(false)),
        })
        .await
    }

    /// Waits for the rest. The bytes count as long as what is returned beside them lives.
    pub(super) async fn all(mut self) -> Result<(Bytes, Reading), Refuse> {
        let most = self.most;
        match poll_fn(|cx| self.poll_take(cx, most)).await? {
            Part::End => Ok((self.data.into(), self.reading)),
            Part::Full => Err(StatusCode::PAYLOAD_TOO_LARGE.into()),
        }
    }

    /// Ready at the end, or with more than `most`.
    fn poll_take(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Part, Refuse>> {
        while self.data.len() <= most {
            match self.body.poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(Part::End)),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing that anybody here waits for.
                    let Ok(chunk) = frame.into_data() else { continue };
                    if !self.put(&chunk) {
                        return Poll::Ready(Err(unavailable()));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let is_late = error.kind() == io::ErrorKind::TimedOut;
                    let status = if is_late { StatusCode::REQUEST_TIMEOUT } else { StatusCode::BAD_REQUEST };
                    return Poll::Ready(Err(status.into()));
                }
            }
        }
        Poll::Ready(Ok(Part::Full))
    }

    /// Copied: a chunk may be a small part of a large buffer. Returns false if there is no room.
    fn put(&mut self, chunk: &Bytes) -> bool {
        let before = self.data.capacity();
        self.data.extend_from_slice(chunk);
        let is_small = self.data.capacity() <= UNSEEN;
        is_small || self.data.capacity() == before || self.reading.takes(self.data.capacity())
    }
}
