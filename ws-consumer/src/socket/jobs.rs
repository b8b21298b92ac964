//! Work beside the hooks.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use tokio::task::{JoinError, JoinSet};

use super::Socket;
use crate::error::{Error, Result};

/// What a connection has running. Dropped with it, and then ended.
pub(super) struct Jobs(JoinSet<Result<()>>);

impl Socket {
    /// Runs `job` beside the hooks, in a task that ends with the connection at the latest: how events, or frames, are
    /// handled at the same time. Waits while `limit` jobs are running, and so bounds them.
    ///
    /// Hooks run one at a time and in order; jobs run at once and in none. A job has no socket: it sends with a
    /// [`Handle`](crate::Handle). One that fails, or panics, is reported as if `event` had.
    ///
    /// ```
    /// # use ws_consumer::{Consumer, NoEvents, Frame, Result, Socket};
    /// # struct Thumbnails;
    /// # async fn resize(_: Frame) -> Vec<u8> { Vec::new() }
    /// # impl Consumer for Thumbnails {
    /// # type Event = NoEvents;
    /// async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
    ///     let handle = socket.handle();
    ///     socket.spawn(4, async move { handle.send(resize(frame).await).await }).await
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// What an earlier job failed with.
    pub async fn spawn(
        &mut self,
        limit: usize,
        job: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        let jobs = self.jobs.get_or_insert_with(|| Box::new(Jobs(JoinSet::new())));
        while jobs.0.len() >= limit.max(1) {
            poll_fn(|cx| jobs.poll_one(cx)).await?;
        }
        jobs.0.spawn(job);
        Ok(())
    }
}

impl Jobs {
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

/// Runs code that blocks (a file, a synchronous database driver, heavy computing) where it holds nobody up, and waits
/// for it: the counterpart of Django Channels' synchronous consumers.
///
/// The code runs to its end even if the future is dropped: a connection that is gone cannot take a thread back.
///
/// ```
/// # use ws_consumer::{Result, Socket, blocking};
/// # async fn hook(socket: &mut Socket) -> Result<()> {
/// let rows = blocking(|| std::fs::read_to_string("rows.json")).await??;
/// socket.send_text(rows).await
/// # }
/// ```
///
/// # Errors
/// [`Panic`](Error::Panic) if the code did.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(failure)
}

pub(super) fn failure(failed: JoinError) -> Error {
    match failed.try_into_panic() {
        Ok(panic) => Error::from_panic(&*panic),
        Err(_) => Error::Closed, // the runtime shuts down
    }
}
