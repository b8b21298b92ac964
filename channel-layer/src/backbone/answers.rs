//! The shared answer of a batch: its callers wait on one object instead of a channel each.

use std::{
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
};

use super::error::LinkError;

use crate::sync::{Mutex, MutexGuard, lock};

/// The number of connections that took each message of a batch, in the order of the batch. `None` if the bus reports
/// none.
pub(super) type Outcomes = Vec<Result<Option<usize>, LinkError>>;

/// The answer that the callers of a batch wait for. Dropped without one, it answers that the layer is closed.
#[derive(Debug)]
pub(super) struct Promise {
    answers: Arc<Answers>,
}

/// The index of one message among the answers.
#[derive(Debug)]
pub(super) struct PendingAnswer {
    answers: Arc<Answers>,
    index: usize,
}

#[derive(Debug, Default)]
struct Answers {
    /// Set once, before the wakers are taken.
    outcomes: OnceLock<Result<Outcomes, LinkError>>,
    /// The waker of each caller, by message. Held for an access.
    wakers: Mutex<Vec<Waker>>,
}

impl Promise {
    /// A promise with memory for this number of messages.
    pub(super) fn new(expected: usize) -> Self {
        let wakers = Mutex::new(Vec::with_capacity(expected));
        Self { answers: Arc::new(Answers { wakers, outcomes: OnceLock::new() }) }
    }

    /// Adds a caller.
    pub(super) fn register(&self, waker: &Waker) -> PendingAnswer {
        let mut wakers = self.answers.wakers();
        wakers.push(waker.clone());
        PendingAnswer { answers: self.answers.clone(), index: wakers.len() - 1 }
    }

    /// Answers all callers.
    pub(super) fn resolve(self, outcomes: Result<Outcomes, LinkError>) {
        self.answers.resolve(outcomes);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.answers.resolve(Err(LinkError::Closed));
    }
}

impl PendingAnswer {
    /// Returns the answer, or registers the waker for it.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Option<usize>, LinkError>> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        let mut wakers = self.answers.wakers();
        // Read again under the lock: the answer is set before the wakers are taken.
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        if let Some(waker) = wakers.get_mut(self.index) {
            waker.clone_from(cx.waker());
        }
        Poll::Pending
    }

    fn outcome(&self) -> Option<Result<Option<usize>, LinkError>> {
        let outcomes = match self.answers.outcomes.get()? {
            Ok(outcomes) => outcomes,
            Err(error) => return Some(Err(error.clone())),
        };
        // A link that returns fewer answers than messages leaves the rest unknown.
        let missing = || Err(LinkError::Down);
        Some(outcomes.get(self.index).cloned().unwrap_or_else(missing))
    }
}

impl Answers {
    /// Sets the answer, unless there is one, and wakes all callers.
    fn resolve(&self, outcomes: Result<Outcomes, LinkError>) {
        if self.outcomes.set(outcomes).is_ok() {
            let wakers = std::mem::take(&mut *self.wakers());
            wakers.into_iter().for_each(Waker::wake); // not under the lock
        }
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        lock(&self.wakers)
    }
}
