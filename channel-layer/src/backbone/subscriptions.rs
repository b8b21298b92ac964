//! The topics that this process subscribes to: requested, confirmed by the server, or idle.
//!
//! One task carries out the changes, one after the other, so that no two commands for one topic race.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

use super::error::LinkError;

use crate::sync::{Mutex, MutexGuard, lock};

/// The shortest time until a topic that could not be unsubscribed yet is checked again.
const AGAIN: Duration = Duration::from_millis(10);

/// The time after which a refused topic with members is requested again.
const RETRY: Duration = Duration::from_secs(1);

/// The topics of one shard.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Held for a map access at a time, by joiners and by the task that carries out changes; never by the path
    /// of messages.
    state: Mutex<SubscriptionsState>,
    /// Notified when there is a change to carry out.
    changed: Notify,
    linger: Duration,
}

#[derive(Debug, Default)]
struct SubscriptionsState {
    topics: HashMap<String, TopicEntry>,
    /// Entries made so far.
    made: u64,
    /// Topics to subscribe to.
    wanted: Vec<String>,
    /// Topics that have lost their last member, and the time at which they are unsubscribed. Each occurs at most once.
    idle: VecDeque<(Instant, String)>,
    /// Topics with members that the server has refused, and the time of the next attempt.
    refused: HashMap<String, Instant>,
}

#[derive(Debug, Default)]
struct TopicEntry {
    /// Distinguishes it from earlier entries of the same topic.
    number: u64,
    live: bool,
    /// The number of joins in progress. They keep the topic although it may have no member yet.
    joining: usize,
    /// Callers that wait for the server's answer.
    waiting: Vec<oneshot::Sender<Result<(), LinkError>>>,
    /// Whether the topic is among the idle ones.
    queued: bool,
}

/// Keeps a topic subscribed while a member joins.
#[derive(Debug)]
pub(super) struct TopicHold<'a> {
    subscriptions: &'a Subscriptions,
    topic: &'a str,
    /// The number of the entry.
    number: u64,
    joined: bool,
}

/// Changes to carry out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<String>,
    pub(super) unsubscribe: Vec<String>,
}

impl Subscriptions {
    pub(super) fn new(linger: Duration) -> Self {
        Self { linger, ..Self::default() }
    }

    /// Requests a subscription to the topic. There is no answer to wait for if the topic is live.
    ///
    /// The topic is kept for as long as the hold is.
    pub(super) fn acquire<'a>(
        &'a self,
        topic: &'a str,
    ) -> (TopicHold<'a>, Option<oneshot::Receiver<Result<(), LinkError>>>) {
        let mut state = self.state();
        let SubscriptionsState { topics, made, wanted, .. } = &mut *state;
        let entry = topics.entry(topic.to_owned()).or_insert_with(|| {
            wanted.push(topic.to_owned());
            *made += 1;
            TopicEntry { number: *made, ..TopicEntry::default() }
        });
        entry.joining += 1;
        let hold = TopicHold { subscriptions: self, topic, number: entry.number, joined: false };
        if entry.live {
            return (hold, None);
        }
        let (sender, receiver) = oneshot::channel();
        entry.waiting.push(sender);
        self.changed.notify_one();
        (hold, Some(receiver))
    }

    /// Whether the server has confirmed the topic.
    pub(super) fn is_live(&self, topic: &str) -> bool {
        self.state().topics.get(topic).is_some_and(|entry| entry.live)
    }

    /// Notes that the topic has lost its last member here. Its subscription ends after the linger, or at once.
    pub(super) fn emptied(&self, topic: &str, at_once: bool) {
        let mut state = self.state();
        let SubscriptionsState { topics, idle, .. } = &mut *state;
        let Some(entry) = topics.get_mut(topic).filter(|entry| !entry.queued) else { return };
        entry.queued = true;
        // Sorted by time.
        match at_once {
            true => idle.push_front((Instant::now(), topic.to_owned())),
            false => idle.push_back((Instant::now() + self.linger, topic.to_owned())),
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The number of topics.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state().topics.len()
    }

    /// Waits for changes. `is_empty` returns whether a topic has no member here.
    ///
    /// Cancel safe: the changes are taken when they are returned.
    pub(super) async fn changes(&self, is_empty: impl Fn(&str) -> bool) -> Changes {
        loop {
            let (changes, due) = self.take(Instant::now(), &is_empty);
            if changes != Changes::default() {
                return changes;
            }
            match due {
                Some(due) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = sleep_until(due) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Takes the changes that are due now.
    pub(super) fn changes_now(&self, is_empty: impl Fn(&str) -> bool) -> Changes {
        self.take(Instant::now(), &is_empty).0
    }

    /// Takes the changes that are due now, and returns the time at which more may be due.
    fn take(&self, now: Instant, is_empty: &impl Fn(&str) -> bool) -> (Changes, Option<Instant>) {
        let mut state = self.state();
        let due: Vec<_> =
            state.refused.iter().filter(|(_, at)| **at <= now).map(|(topic, _)| topic.clone()).collect();
        for topic in due {
            state.refused.remove(&topic);
            if !is_empty(&topic) && !state.topics.contains_key(&topic) {
                state.request_again(topic.clone());
                state.wanted.push(topic);
            }
        }
        let subscribe = std::mem::take(&mut state.wanted);
        let (mut unsubscribe, mut busy) = (Vec::new(), Vec::new());
        while let Some((due, _)) = state.idle.front()
            && *due <= now
            && let Some((_, topic)) = state.idle.pop_front()
        {
            match state.forget(&topic, is_empty) {
                IdleCheck::Busy => busy.push(topic),
                IdleCheck::Forgotten => unsubscribe.push(topic),
                IdleCheck::Needed => {}
            }
        }
        // Never due at once: without a linger, this would loop under the lock.
        let again = now + self.linger.max(AGAIN);
        state.idle.extend(busy.into_iter().map(|topic| (again, topic)));
        let due =
            state.idle.front().map(|(due, _)| *due).into_iter().chain(state.refused.values().copied()).min();
        (Changes { subscribe, unsubscribe }, due)
    }

    /// Records the server's answer for topics.
    pub(super) fn answered(&self, topics: &[String], answer: Result<(), LinkError>) {
        let mut state = self.state();
        for topic in topics {
            let Some(entry) = state.topics.get_mut(topic) else { continue };
            entry.live = answer.is_ok();
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(answer.clone()); // the caller may have gone
            }
            if answer.is_err() {
                state.topics.remove(topic);
            }
        }
    }

    /// Notes that the server refuses a topic that has members.
    pub(super) fn refused(&self, topic: &str, fault: LinkError) {
        let name = topic.to_owned();
        self.answered(std::slice::from_ref(&name), Err(fault));
        self.state().refused.insert(name, Instant::now() + RETRY);
        self.changed.notify_one(); // to wait until the next attempt
    }

    /// Fails all waiting callers after the loss of a link. Topics with members are requested again on the next link.
    pub(super) fn interrupted(&self, fault: &LinkError) {
        let mut state = self.state();
        for waiting in state.topics.values_mut().flat_map(|entry| entry.waiting.drain(..)) {
            let _ = waiting.send(Err(fault.clone()));
        }
    }

    /// The topics that a new link must subscribe to: those that have members or a join in progress.
    pub(super) fn to_resume(&self, is_empty: impl Fn(&str) -> bool) -> Vec<String> {
        let mut state = self.state();
        state.idle.clear();
        let refused = std::mem::take(&mut state.refused);
        refused.into_keys().for_each(|topic| state.request_again(topic));
        state.topics.retain(|topic, entry| {
            entry.queued = false;
            entry.joining > 0 || !is_empty(topic)
        });
        state.wanted.clear(); // they are among the entries
        state.topics.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, SubscriptionsState> {
        lock(&self.state)
    }
}

/// The outcome of the check of an idle topic.
enum IdleCheck {
    /// A join is in progress: checked again later.
    Busy,
    Forgotten,
    Needed,
}

impl SubscriptionsState {
    /// Makes an entry for a refused topic.
    fn request_again(&mut self, topic: String) {
        let Self { topics, made, .. } = self;
        topics.entry(topic).or_insert_with(|| {
            *made += 1;
            TopicEntry { number: *made, ..TopicEntry::default() }
        });
    }

    fn forget(&mut self, topic: &str, is_empty: impl Fn(&str) -> bool) -> IdleCheck {
        let Some(entry) = self.topics.get_mut(topic) else { return IdleCheck::Needed };
        if entry.joining > 0 || !entry.live {
            return IdleCheck::Busy;
        }
        entry.queued = false;
        if !is_empty(topic) {
            return IdleCheck::Needed;
        }
        self.topics.remove(topic);
        IdleCheck::Forgotten
    }
}

impl TopicHold<'_> {
    /// Notes that a member was added. From now on the hub reports when the topic is empty.
    pub(super) fn joined(mut self) {
        self.joined = true;
    }
}

impl Drop for TopicHold<'_> {
    fn drop(&mut self) {
        // An entry that was forgotten and made again does not count this hold.
        if let Some(entry) = self.subscriptions.state().topics.get_mut(self.topic)
            && entry.number == self.number
        {
            entry.joining = entry.joining.saturating_sub(1);
        }
        if !self.joined {
            self.subscriptions.emptied(self.topic, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(2);

    fn group(name: &str) -> String {
        name.to_owned()
    }

    fn live(names: &[&str]) -> Subscriptions {
        let subscriptions = Subscriptions::new(LINGER);
        for name in names {
            subscriptions.acquire(&group(name)).0.joined();
        }
        let (changes, _) = subscriptions.take(Instant::now(), &|_| false);
        subscriptions.answered(&changes.subscribe, Ok(()));
        subscriptions
    }

    fn at(subscriptions: &Subscriptions, after: Duration, empty: bool) -> Changes {
        subscriptions.take(Instant::now() + after, &|_| empty).0
    }

    #[tokio::test]
    async fn joiners_share_one_request() {
        let subscriptions = Subscriptions::new(LINGER);
        let g = group("g");
        let joiners: Vec<_> = (0..3).map(|_| subscriptions.acquire(&g)).collect();
        let changes = at(&subscriptions, Duration::ZERO, true);
        assert_eq!(changes.subscribe, [group("g")]);
        assert!(!subscriptions.is_live(&g));
        subscriptions.answered(&changes.subscribe, Ok(()));
        for (hold, answer) in joiners {
            assert!(answer.unwrap().await.unwrap().is_ok());
            hold.joined();
        }
        assert!(subscriptions.acquire(&g).1.is_none(), "live: no waiting");
    }

    #[tokio::test]
    async fn unsubscribes_after_the_linger() {
        let subscriptions = live(&["g"]);
        subscriptions.emptied(&group("g"), false);
        subscriptions.emptied(&group("g"), false);
        assert_eq!(at(&subscriptions, LINGER / 2, true), Changes::default());
        assert_eq!(at(&subscriptions, LINGER * 2, true).unsubscribe, [group("g")]);
        assert_eq!(subscriptions.len(), 0);
    }

    #[tokio::test]
    async fn a_refilled_topic_is_kept() {
        let subscriptions = live(&["g"]);
        subscriptions.emptied(&group("g"), false);
        assert_eq!(at(&subscriptions, LINGER * 2, false), Changes::default());
        assert!(subscriptions.is_live(&group("g")));
    }

    #[tokio::test]
    async fn a_joiner_keeps_its_topic() {
        let subscriptions = live(&["g"]);
        let g = group("g");
        subscriptions.emptied(&g, false);
        let (hold, _) = subscriptions.acquire(&g);
        assert_eq!(at(&subscriptions, LINGER * 2, true), Changes::default());
        drop(hold);
        assert_eq!(at(&subscriptions, LINGER * 5, true).unsubscribe, [g]);
    }

    #[tokio::test]
    async fn resubscribes_after_leaving() {
        let subscriptions = live(&["g"]);
        subscriptions.emptied(&group("g"), false);
        assert_eq!(at(&subscriptions, LINGER * 2, true).unsubscribe, [group("g")]);
        subscriptions.acquire(&group("g")).0.joined();
        assert_eq!(at(&subscriptions, Duration::ZERO, false).subscribe, [group("g")]);
    }

    #[tokio::test]
    async fn a_cancelled_join_unsubscribes() {
        let subscriptions = Subscriptions::new(Duration::ZERO);
        let g = group("g");
        drop(subscriptions.acquire(&g));
        assert_eq!(at(&subscriptions, Duration::ZERO, true).subscribe, [group("g")]);
        subscriptions.answered(&[group("g")], Ok(()));
        assert_eq!(at(&subscriptions, AGAIN * 2, true).unsubscribe, [g]);
        assert_eq!(subscriptions.len(), 0);
    }

    #[tokio::test]
    async fn refusals_spare_later_joiners() {
        let subscriptions = Subscriptions::new(LINGER);
        let g = group("g");
        let refused = subscriptions.acquire(&g);
        let changes = at(&subscriptions, Duration::ZERO, true);
        subscriptions.answered(&changes.subscribe, Err(LinkError::Down));
        let (hold, _answer) = subscriptions.acquire(&g);
        drop(refused);
        let changes = at(&subscriptions, Duration::ZERO, true);
        subscriptions.answered(&changes.subscribe, Ok(()));
        assert_eq!(at(&subscriptions, LINGER * 2, true), Changes::default(), "a join is in progress");
        hold.joined();
        assert!(subscriptions.is_live(&g));
    }

    #[tokio::test]
    async fn forgets_joins_given_up() {
        let subscriptions = live(&["old"]);
        subscriptions.interrupted(&LinkError::Down);
        drop(subscriptions.acquire(&group("late")));
        assert_eq!(subscriptions.to_resume(|group| group == "late"), [group("old")]);
        assert_eq!(at(&subscriptions, Duration::ZERO, true), Changes::default());
    }

    #[tokio::test]
    async fn resuming_retries_refused_topics() {
        let subscriptions = live(&["a", "b"]);
        subscriptions.refused("a", LinkError::Down);
        subscriptions.refused("b", LinkError::Down);
        assert!(!subscriptions.is_live("a"));
        assert_eq!(subscriptions.to_resume(|group| group == "b"), [group("a")]);
        assert_eq!(subscriptions.len(), 1, "the other one has no members");
    }

    #[tokio::test]
    async fn retries_refused_topics() {
        let subscriptions = live(&["a", "b"]);
        subscriptions.refused("a", LinkError::Down);
        subscriptions.refused("b", LinkError::Down);
        assert_eq!(at(&subscriptions, RETRY / 2, false), Changes::default());
        let (changes, _) = subscriptions.take(Instant::now() + RETRY, &|topic| topic == "b");
        assert_eq!(changes.subscribe, ["a"]);
        subscriptions.answered(&changes.subscribe, Ok(()));
        assert!(subscriptions.is_live("a"));
        assert_eq!(at(&subscriptions, RETRY * 9, false), Changes::default());
    }

    #[tokio::test]
    async fn interruptions_fail_waiters() {
        let subscriptions = live(&["old"]);
        let new = group("new");
        let (hold, answer) = subscriptions.acquire(&new);
        subscriptions.interrupted(&LinkError::Down);
        assert!(matches!(answer.unwrap().await.unwrap(), Err(LinkError::Down)));
        drop(hold);
        assert_eq!(subscriptions.to_resume(|group| group == "new"), [group("old")]);
        assert!(subscriptions.to_resume(|_| true).is_empty());
        assert_eq!(at(&subscriptions, LINGER * 2, true), Changes::default());
    }

    #[tokio::test]
    async fn outage_joins_subscribe_once() {
        let subscriptions = live(&["old"]);
        subscriptions.interrupted(&LinkError::Down);
        for _ in 0..2 {
            subscriptions.acquire("new").0.joined();
        }
        let mut wanted = subscriptions.to_resume(|_| false);
        wanted.sort_unstable();
        assert_eq!(wanted, ["new", "old"]);
        subscriptions.acquire("late").0.joined();
        assert_eq!(subscriptions.changes_now(|_| false).subscribe, ["late"], "the others are in progress");
        assert_eq!(subscriptions.changes_now(|_| false), Changes::default());
        // A second attempt asks for all of it again.
        assert_eq!(subscriptions.to_resume(|_| false).len(), 3);
    }
}
