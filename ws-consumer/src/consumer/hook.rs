//! A call of a hook: until its end, its panic, or a time after its client has left.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::{
    error::{Error, Result},
    wire::{Connection, Phase},
};

/// The time that a hook may go on after its client has left, before it is dropped.
const GRACE: Duration = Duration::from_secs(10);

pin_project! {
    /// A struct, not an `async fn`: that would keep the hook's future twice, as its argument and as its own.
    pub(crate) struct Hook<F> {
        #[pin]
        hook: F,
        connection: Arc<Connection>,
        undecided: bool,
        // Boxed: only the rare hook that outlives its client has one.
        grace: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = Result<()>>> Hook<F> {
    pub(crate) fn new(connection: Arc<Connection>, hook: F) -> Self {
        let undecided = connection.phase() == Phase::Undecided;
        Self { hook, connection, undecided, grace: None }
    }
}

impl<F: Future<Output = Result<()>>> Future for Hook<F> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.project();
        // After a panic the consumer is in a state of its own making; only `disconnect` sees it.
        match catch_unwind(AssertUnwindSafe(|| this.hook.poll(cx))) {
            Ok(Poll::Ready(outcome)) => return Poll::Ready(outcome),
            Ok(Poll::Pending) => {}
            Err(panic) => return Poll::Ready(Err(Error::from_panic(&*panic))),
        }
        let Poll::Ready(lost) = this.connection.poll_closed(cx) else { return Poll::Pending };
        // The client is gone: its decision has no use.
        if *this.undecided && lost {
            return Poll::Ready(Err(Error::Closed));
        }
        let grace = this.grace.get_or_insert_with(|| Box::pin(sleep(GRACE)));
        grace.as_mut().poll(cx).map(|()| Err(Error::Closed))
    }
}
