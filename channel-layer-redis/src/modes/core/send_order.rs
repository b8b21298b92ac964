//! The order of concurrent sends to the same group.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{Mutex, MutexGuard},
    task::{Poll, Waker},
    time::Duration,
};

use channel_layer::GroupName;
use tokio::time::timeout;

use crate::sync::lock;

/// The order of the calls in progress. Calls to one group take turns in the order in which they were entered, also when some
/// of them are cancelled.
#[derive(Debug, Default)]
pub(super) struct SendOrder {
    /// Locked for a few accesses.
    state: Mutex<CallQueues>,
}

#[derive(Debug, Default)]
struct CallQueues {
    entered: u64,
    /// The numbers of the calls to each group that has any.
    queues: HashMap<GroupName, VecDeque<u64>>,
    waiting: HashMap<u64, Waker>,
}

/// The position of one call. Dropping it gives the turn to the next call.
#[derive(Debug)]
pub(super) struct SendTurn<'a> {
    order: &'a SendOrder,
    number: u64,
    groups: Vec<GroupName>,
}

impl SendOrder {
    /// Enters a call to all of these groups at once, so that two calls to the same groups never wait for each other.
    pub(super) fn enter<'a>(&self, groups: impl Iterator<Item = &'a GroupName>) -> SendTurn<'_> {
        let groups: Vec<_> = groups.cloned().collect();
        let mut state = self.lock();
        state.entered += 1;
        let number = state.entered;
        for group in &groups {
            state.queues.entry(group.clone()).or_default().push_back(number);
        }
        drop(state);
        SendTurn { order: self, number, groups }
    }

    fn lock(&self) -> MutexGuard<'_, CallQueues> {
        lock(&self.state)
    }
}

impl SendTurn<'_> {
    /// Waits until no earlier call to one of the groups is left. At `limit`, the remaining earlier calls lose their turns: by then
    /// a call that is polled has its members or has failed.
    pub(super) async fn wait(&self, limit: Duration) {
        let turn = poll_fn(|cx| {
            let mut state = self.order.lock();
            if self.groups.iter().all(|group| state.first(group).is_none_or(|first| first >= self.number)) {
                return Poll::Ready(());
            }
            state.waiting.insert(self.number, cx.waker().clone());
            Poll::Pending
        });
        if timeout(limit, turn).await.is_err() {
            self.overtake();
        }
    }

    fn overtake(&self) {
        let mut state = self.order.lock();
        let mut wakers = Vec::new();
        for group in &self.groups {
            while let Some(first) = state.first(group).filter(|first| *first < self.number) {
                state.queues.get_mut(group).and_then(VecDeque::pop_front);
                wakers.extend(state.waiting.remove(&first));
            }
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake); // after the lock is released
    }
}

impl Drop for SendTurn<'_> {
    fn drop(&mut self) {
        let mut state = self.order.lock();
        let mut wakers = Vec::new();
        state.waiting.remove(&self.number);
        for group in &self.groups {
            let Some(queue) = state.queues.get_mut(group) else { continue };
            queue.retain(|number| *number != self.number);
            if queue.is_empty() {
                state.queues.remove(group);
            }
            // The woken call checks its other groups itself.
            let next = state.first(group).and_then(|next| state.waiting.remove(&next));
            wakers.extend(next);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake); // after the lock is released
    }
}

impl CallQueues {
    fn first(&self, group: &GroupName) -> Option<u64> {
        self.queues.get(group)?.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn enter<'a>(order: &'a SendOrder, groups: &[&str]) -> SendTurn<'a> {
        let groups: Vec<GroupName> = groups.iter().map(|group| group.parse().unwrap()).collect();
        order.enter(groups.iter())
    }

    fn has_turn(turn: &SendTurn<'_>) -> bool {
        turn.wait(LIMIT).now_or_never().is_some()
    }

    #[tokio::test]
    async fn waits_for_earlier_calls() {
        let order = SendOrder::default();
        let [a, b, both, late] = [&["a"][..], &["b"], &["b", "a", "a"], &["a"]].map(|to| enter(&order, to));
        assert!(has_turn(&a) && has_turn(&b) && !has_turn(&both) && !has_turn(&late));
        drop(b);
        assert!(!has_turn(&both));
        drop(a);
        assert!(has_turn(&both) && !has_turn(&late));
        drop(both);
        assert!(has_turn(&late));
        drop(late);
        let state = order.lock();
        assert!(state.queues.is_empty() && state.waiting.is_empty(), "the tables are empty");
    }

    #[tokio::test]
    async fn cancelled_calls_keep_the_order() {
        let order = SendOrder::default();
        let [first, second, third] = [&["a"][..]; 3].map(|to| enter(&order, to));
        drop(second);
        assert!(!has_turn(&third));
        drop(first);
        assert!(has_turn(&third));
    }

    #[tokio::test]
    async fn wakes_in_order() {
        let (order, woken) = (SendOrder::default(), Mutex::new(Vec::new()));
        let mut calls: Vec<_> = (0..50).map(|n| (n, enter(&order, &["a", "b"]))).collect();
        calls.reverse();
        let wait = calls.into_iter().map(async |(n, turn)| {
            turn.wait(LIMIT).await;
            woken.lock().unwrap().push(n);
        });
        futures_util::future::join_all(wait).await;
        assert!(woken.into_inner().unwrap().is_sorted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_call_loses_its_turn() {
        let order = SendOrder::default();
        let [stalled, next, last] = [&["a", "b"][..], &["a"], &["b", "a"]].map(|to| enter(&order, to));
        next.wait(LIMIT).await;
        assert!(!has_turn(&last), "the one before it has its turn");
        drop(next);
        last.wait(LIMIT).await;
        assert!(has_turn(&stalled), "it continues when it is polled again");
        drop((stalled, last));
        let state = order.lock();
        assert!(state.queues.is_empty() && state.waiting.is_empty());
    }
}
