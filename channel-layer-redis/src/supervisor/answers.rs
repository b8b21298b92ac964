//! One answer for a whole batch of messages: their callers wait together and are told together, without a channel for
//! each.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::error::Fault;

/// How many processes took each message of a batch, in the order of the batch.
pub(super) type Counts = Vec<Result<u64, Box<Fault>>>;

/// Owed to those who have published in a batch. Dropped without an answer, it answers that the link is closed.
#[derive(Debug)]
pub(super) struct Promise {
    answers: Arc<Answers>,
}

/// The place of one message among the answers.
#[derive(Debug)]
pub(super) struct Ticket {
    answers: Arc<Answers>,
    place: usize,
}

#[derive(Debug, Default)]
struct Answers {
    /// Set once, before the wakers are taken.
    counts: OnceLock<Result<Counts, Fault>>,
    /// One for each message. Held for an access.
    wakers: Mutex<Vec<Waker>>,
}

impl Promise {
    /// With memory for so many.
    pub(super) fn new(expected: usize) -> Self {
        let wakers = Mutex::new(Vec::with_capacity(expected));
        Self { answers: Arc::new(Answers { wakers, counts: OnceLock::new() }) }
    }

    /// One more waits.
    pub(super) fn ticket(&self, waker: &Waker) -> Ticket {
        let mut wakers = self.answers.wakers();
        wakers.push(waker.clone());
        Ticket { answers: self.answers.clone(), place: wakers.len() - 1 }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.answers.wakers().len()
    }

    /// Answers all.
    pub(super) fn keep(self, counts: Result<Counts, Fault>) {
        self.answers.resolve(counts);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.answers.resolve(Err(Fault::Closed));
    }
}

impl Ticket {
    /// The answer, or a wake-up when it is there.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<u64, Fault>> {
        if let Some(count) = self.count() {
            return Poll::Ready(count);
        }
        let mut wakers = self.answers.wakers();
        // Looked at again under the lock: whoever answers does so before it takes the wakers.
        if let Some(count) = self.count() {
            return Poll::Ready(count);
        }
        if let Some(waker) = wakers.get_mut(self.place) {
            waker.clone_from(cx.waker());
        }
        Poll::Pending
    }

    fn count(&self) -> Option<Result<u64, Fault>> {
        let counts = match self.answers.counts.get()? {
            Ok(counts) => counts,
            Err(fault) => return Some(Err(fault.clone())),
        };
        Some(match counts.get(self.place) {
            Some(Ok(count)) => Ok(*count),
            Some(Err(fault)) => Err(Fault::clone(fault)),
            None => Err(Fault::UnexpectedReply("a pipeline")),
        })
    }
}

impl Answers {
    /// The first answer counts.
    fn resolve(&self, counts: Result<Counts, Fault>) {
        if self.counts.set(counts).is_ok() {
            let wakers = std::mem::take(&mut *self.wakers());
            wakers.into_iter().for_each(Waker::wake); // not under the lock
        }
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        // Nothing in here is left half done by a panic.
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
