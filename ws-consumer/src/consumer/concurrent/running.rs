//! The hooks of a connection that run at the same time, and those that wait for their key.

use std::{
    any::Any,
    collections::{HashMap, VecDeque, hash_map::Entry},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};

use crate::error::{Error, Result};

/// Hooks that share a key run one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum HookKey {
    /// The consumer's own.
    Chosen(u64),
    /// The key of news about the connection.
    Notice,
}

struct EndedHook {
    key: Option<HookKey>,
    outcome: Result<()>,
}

type BoxedHook = Pin<Box<dyn Future<Output = EndedHook> + Send>>;

/// Hooks in progress. They are polled in the connection's task.
#[derive(Default)]
pub(super) struct RunningHooks {
    running: FuturesUnordered<BoxedHook>,
    /// For each key that is in use, the hooks that wait for the one that runs.
    waiting: HashMap<HookKey, VecDeque<BoxedHook>>,
    waiting_hooks: usize,
}

impl RunningHooks {
    /// Starts a hook, once those before it with the same key have ended.
    pub(super) fn start(
        &mut self,
        key: Option<HookKey>,
        hook: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let hook = Box::pin(async move {
            // After a panic the consumer is in a state of its own making; only `disconnect` sees it.
            let outcome = AssertUnwindSafe(hook).catch_unwind().await;
            EndedHook { key, outcome: outcome.unwrap_or_else(|panic| Err(Error::from_panic(&*panic))) }
        });
        match key.map(|key| self.waiting.entry(key)) {
            Some(Entry::Occupied(mut before)) => {
                before.get_mut().push_back(hook);
                self.waiting_hooks += 1;
            }
            Some(Entry::Vacant(free)) => {
                free.insert(VecDeque::new());
                self.running.push(hook);
            }
            None => self.running.push(hook),
        }
    }

    /// The number of hooks that run or wait.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.waiting_hooks
    }

    /// Ready with the outcome of a hook that has ended; `None` if there is none.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        self.running.poll_next_unpin(cx).map(|ended| {
            let EndedHook { key, outcome } = ended?;
            key.into_iter().for_each(|key| self.start_next(key));
            Some(outcome)
        })
    }

    fn start_next(&mut self, key: HookKey) {
        let Entry::Occupied(mut waiting) = self.waiting.entry(key) else { return };
        match waiting.get_mut().pop_front() {
            Some(next) => {
                self.running.push(next);
                self.waiting_hooks -= 1;
            }
            None => _ = waiting.remove(),
        }
    }

    /// Drops the hooks that have not begun.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting = HashMap::new();
        self.waiting_hooks = 0;
    }

    /// Drops all hooks. A hook that panics meanwhile must not keep `disconnect` from running.
    pub(super) fn drop_all(&mut self) {
        self.drop_waiting();
        let running = mem::take(&mut self.running);
        let dropped: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| drop(running)));
        if dropped.is_err() {
            tracing::error!("a panic while the hooks of a consumer were dropped");
        }
    }
}
