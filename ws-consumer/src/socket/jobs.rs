//! Tasks of a connection, concurrent with its hooks.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use tokio::task::{JoinError, JoinSet};

use crate::error::{Error, Result};

/// The running jobs of a connection. They end when it is dropped.
#[derive(Default)]
pub(super) struct Jobs(JoinSet<Result<()>>);

impl Jobs {
    /// Starts a job, once fewer than `limit` are running.
    pub(super) async fn spawn(
        &mut self,
        limit: usize,
        job: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        while self.0.len() >= limit.max(1) {
            poll_fn(|cx| self.poll_one(cx)).await?;
        }
        self.0.spawn(job);
        Ok(())
    }

    fn poll_one(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match ready!(self.0.poll_join_next(cx)) {
            None => Poll::Ready(Ok(())),
            Some(joined) => Poll::Ready(joined.unwrap_or_else(|failed| Err(failure(failed)))),
        }
    }

    /// Ready with the error of a job that failed.
    pub(super) fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        while !self.0.is_empty() {
            if let Err(error) = ready!(self.poll_one(cx)) {
                return Poll::Ready(error);
            }
        }
        Poll::Pending
    }
}

pub(super) fn failure(failed: JoinError) -> Error {
    match failed.try_into_panic() {
        Ok(panic) => Error::from_panic(&*panic),
        Err(_) => Error::Closed, // the runtime shuts down
    }
}
