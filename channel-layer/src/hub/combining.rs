//! Flat combining: one sender at a time runs over a group's members, for all that send meanwhile.
//!
//! Two threads that visit the same members at once meet at every mailbox, which measured three times slower than one thread
//! alone. So there is one run at a time, and what is sent during it is queued for the next one.

use std::{collections::VecDeque, mem};

use crate::sync::{Mutex, lock};

/// The queue of those that send to the same members. `None` while there is no run, otherwise what is queued for the next
/// one. Bounded by the number of concurrent callers: each waits for its own.
pub(super) struct Combiner<T>(Mutex<Option<VecDeque<T>>>);

/// The part of a caller that enters.
pub(super) enum Entry<'a, T> {
    /// The caller runs at once.
    Run(Run<'a, T>),
    /// The run under way takes what the caller has queued.
    Queued,
    /// The caller has queued, and has to start a runner: there is none.
    RunnerNeeded,
}

/// A run of the caller. Dropped unfinished, by a panic of a waker or of a subscriber of `tracing`, it abandons what is
/// queued, so that nothing waits for a run that never comes.
pub(super) struct Run<'a, T>(Option<&'a Combiner<T>>);

impl<T> Combiner<T> {
    /// Enters: runs if there is no run and the caller `can`, otherwise queues.
    pub(super) fn enter(&self, can: bool, item: impl FnOnce() -> T) -> Entry<'_, T> {
        let mut queue = lock(&self.0);
        match &mut *queue {
            Some(queued) => {
                queued.push_back(item());
                Entry::Queued
            }
            None if can => {
                *queue = Some(VecDeque::new());
                Entry::Run(Run(Some(self)))
            }
            None => {
                *queue = Some(VecDeque::from([item()]));
                Entry::RunnerNeeded
            }
        }
    }

    /// Takes what is queued, up to `most`. An empty list ends the run.
    pub(super) fn take(&self, most: usize) -> Vec<T> {
        let mut queue = lock(&self.0);
        let Some(queued) = &mut *queue else { return Vec::new() };
        let taken: Vec<_> = queued.drain(..queued.len().min(most)).collect();
        if taken.is_empty() {
            *queue = None;
        }
        taken
    }

    /// Ends a run before its time. Those that wait see the end of their channels.
    pub(super) fn abandon(&self) {
        let waste = mem::take(&mut *lock(&self.0));
        drop(waste); // what it drops may be anything: not under the lock
    }
}

impl<T> Run<'_, T> {
    /// Ends the run. False if something is queued: a runner is needed.
    pub(super) fn finish(mut self) -> bool {
        let Some(combiner) = self.0.take() else { return true };
        lock(&combiner.0).take_if(|queued| queued.is_empty()).is_some()
    }
}

impl<T> Drop for Run<'_, T> {
    fn drop(&mut self) {
        if let Some(combiner) = self.0 {
            combiner.abandon();
        }
    }
}

impl<T> Default for Combiner<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}
