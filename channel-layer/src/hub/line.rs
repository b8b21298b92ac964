//! Those who send to one group at the same moment.
//!
//! Two threads that walk over the same members at once meet at every mailbox, which measured three times slower than one
//! that walks alone. So there is one walk at a time, and what comes meanwhile goes along on the next one.

use std::{collections::VecDeque, mem};

use super::burst::{Burst, Post};
use crate::sync::{Mutex, MutexGuard, lock};

/// Nothing while nobody walks; otherwise what waits for the next walk. It is bounded by the callers: each waits for its own.
#[derive(Default)]
pub(super) struct Line(Mutex<Option<VecDeque<Post>>>);

/// Who walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// The caller, who has to [`leave`](Line::leave).
    Caller,
    /// Somebody who looks at the line when done; the post waits there.
    Other,
    /// Nobody yet, and the post waits: there has to be a walker.
    Nobody,
}

impl Line {
    /// Somebody comes, and walks if nobody else does and it `can`. Otherwise leaves a post.
    pub(super) fn enter(&self, can: bool, post: impl FnOnce() -> Post) -> Entered {
        let mut line = self.lock();
        match &mut *line {
            Some(waiting) => {
                waiting.push_back(post());
                Entered::Other
            }
            None if can => {
                *line = Some(VecDeque::new());
                Entered::Caller
            }
            None => {
                *line = Some(VecDeque::from([post()]));
                Entered::Nobody
            }
        }
    }

    /// Is nobody waiting? Then nobody walks any more; otherwise somebody still has to.
    pub(super) fn leave(&self) -> bool {
        self.lock().take_if(|waiting| waiting.is_empty()).is_some()
    }

    /// What goes along on the next walk; with nothing, the walker has left.
    pub(super) fn take(&self) -> Vec<Post> {
        let mut line = self.lock();
        let Some(waiting) = &mut *line else { return Vec::new() };
        let posts: Vec<_> = waiting.drain(..waiting.len().min(Burst::TOGETHER)).collect();
        if posts.is_empty() {
            *line = None;
        }
        posts
    }

    /// The walker is gone before its time: those who wait are told by the end of their wait.
    pub(super) fn abandon(&self) {
        let waste = mem::take(&mut *self.lock());
        drop(waste); // what it drops may be anything: not under the lock
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Post>>> {
        // Nothing in here can be left half done by a panic.
        lock(&self.0)
    }
}
