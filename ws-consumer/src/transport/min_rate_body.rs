//! [`MinRateBody`]: a request's body with a minimum rate.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use crate::error::BoxError;

/// The number of bytes that restore one second of patience: below the rate of any modem, and costly for a client that only
/// holds connections open.
const RATE: f64 = 500.0;

/// A body whose total waiting time is limited. Every byte that arrives restores a part of the time; time in which the
/// application does not read is not counted.
pub(crate) struct MinRateBody<B> {
    body: Pin<Box<B>>,
    patience: Duration,
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> MinRateBody<B> {
    pub(crate) fn new(body: B, patience: Duration) -> Self {
        Self { body: Box::pin(body), patience, left: patience, waiting: None }
    }

    /// Ends a wait that brought `bytes`.
    fn count(&mut self, bytes: usize) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        let gained = Duration::from_secs_f64(bytes as f64 / RATE);
        self.left = (self.left.saturating_sub(waited) + gained).min(self.patience);
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> MinRateBody<B> {
    /// Returns the next frame. An error is final; its kind is `TimedOut` if the client was too slow.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.count(frame.data_ref().map_or(0, Buf::remaining));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(other) => Poll::Ready(other.map(|frame| frame.map_err(io::Error::other))),
            Poll::Pending => {
                let left = self.left;
                let (_, end) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
                end.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())))
            }
        }
    }
}
