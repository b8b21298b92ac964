//! Which groups this process is to be subscribed to: what is wanted, what the server has confirmed, and what
//! nobody needs any more.
//!
//! One task carries it out, one step after the other, so no two commands for one group ever race.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

use crate::error::Fault;

/// A group that could not be left yet is looked at again after this time, at the earliest.
const AGAIN: Duration = Duration::from_millis(10);

/// The groups of one link.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Held for a map access at a time, by joiners and by the task that carries out changes; never by the path
    /// of messages.
    state: Mutex<State>,
    /// There is something to do.
    changed: Notify,
    linger: Duration,
}

#[derive(Debug, Default)]
struct State {
    groups: HashMap<String, Entry>,
    /// Entries made so far.
    made: u64,
    /// To be asked for.
    wanted: Vec<String>,
    /// Without members since then; each group is in here once at most.
    idle: VecDeque<(Instant, String)>,
    /// Were live, and were refused to a later connection; the next one asks again.
    refused: HashSet<String>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Tells it from earlier entries of the same group.
    number: u64,
    live: bool,
    /// Calls of `group_add` under way: they keep the group although it may have no member yet.
    joining: usize,
    /// Told when the server has confirmed, or refused.
    waiting: Vec<oneshot::Sender<Result<(), Fault>>>,
    /// Is it in the queue of idle groups?
    queued: bool,
}

/// Keeps a group subscribed while somebody is joining it.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    subscriptions: &'a Subscriptions,
    group: &'a str,
    /// Which entry it keeps.
    number: u64,
    joined: bool,
}

/// What to do next.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<String>,
    pub(super) unsubscribe: Vec<String>,
}

impl Subscriptions {
    pub(super) fn new(linger: Duration) -> Self {
        Self { linger, ..Self::default() }
    }

    /// Sees to it that the group is subscribed to. The answer comes at once if it is already.
    ///
    /// The group is kept for as long as the hold is, so that a member can be added in peace.
    pub(crate) fn acquire<'a>(
        &'a self,
        group: &'a str,
    ) -> (Hold<'a>, Option<oneshot::Receiver<Result<(), Fault>>>) {
        let mut state = self.state();
        let State { groups, made, wanted, .. } = &mut *state;
        let entry = groups.entry(group.to_owned()).or_insert_with(|| {
            wanted.push(group.to_owned());
            *made += 1;
            Entry { number: *made, ..Entry::default() }
        });
        entry.joining += 1;
        let hold = Hold { subscriptions: self, group, number: entry.number, joined: false };
        if entry.live {
            return (hold, None);
        }
        let (sender, receiver) = oneshot::channel();
        entry.waiting.push(sender);
        self.changed.notify_one();
        (hold, Some(receiver))
    }

    /// Has the server confirmed it?
    pub(crate) fn is_live(&self, group: &str) -> bool {
        self.state().groups.get(group).is_some_and(|entry| entry.live)
    }

    /// The group has lost its last member here: its subscription ends after the linger.
    pub(crate) fn emptied(&self, group: &str) {
        let mut state = self.state();
        let State { groups, idle, .. } = &mut *state;
        let Some(entry) = groups.get_mut(group).filter(|entry| !entry.queued) else { return };
        entry.queued = true;
        idle.push_back((Instant::now() + self.linger, group.to_owned()));
        drop(state);
        self.changed.notify_one();
    }

    /// How many groups there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state().groups.len()
    }

    /// Waits until there is something to do. `is_empty` says whether a group has no member here.
    ///
    /// Cancel safe: what it returns is taken in the same moment.
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
        let subscribe = std::mem::take(&mut state.wanted);
        let (mut unsubscribe, mut busy) = (Vec::new(), Vec::new());
        while let Some((due, _)) = state.idle.front()
            && *due <= now
            && let Some((_, group)) = state.idle.pop_front()
        {
            match state.forget(&group, is_empty) {
                Idle::Busy => busy.push(group),
                Idle::Forgotten => unsubscribe.push(group),
                Idle::Needed => {}
            }
        }
        // Never due at once: without a linger, this would go round and round under the lock.
        let again = now + self.linger.max(AGAIN);
        state.idle.extend(busy.into_iter().map(|group| (again, group)));
        (Changes { subscribe, unsubscribe }, state.idle.front().map(|(due, _)| *due))
    }

    /// The server has confirmed these, or refused them.
    pub(super) fn answered(&self, groups: &[String], answer: Result<(), Fault>) {
        let mut state = self.state();
        for group in groups {
            let Some(entry) = state.groups.get_mut(group) else { continue };
            entry.live = answer.is_ok();
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(answer.clone()); // who waits no longer does not mind
            }
            if answer.is_err() {
                state.groups.remove(group);
            }
        }
    }

    /// The server does not confirm it any more, though it has members.
    pub(super) fn refused(&self, group: &str, fault: Fault) {
        let name = group.to_owned();
        self.answered(std::slice::from_ref(&name), Err(fault));
        self.state().refused.insert(name);
    }

    /// Fails all waiting callers after the loss of the connection. Groups that have members when the next one
    /// comes stay wanted.
    pub(super) fn interrupted(&self, fault: &Fault) {
        let mut state = self.state();
        for waiting in state.groups.values_mut().flat_map(|entry| entry.waiting.drain(..)) {
            let _ = waiting.send(Err(fault.clone()));
        }
    }

    /// What a new connection has to subscribe to: all that have members or are about to.
    pub(super) fn to_resume(&self, is_empty: impl Fn(&str) -> bool) -> Vec<String> {
        let mut state = self.state();
        state.idle.clear();
        for group in std::mem::take(&mut state.refused) {
            let State { groups, made, .. } = &mut *state;
            groups.entry(group).or_insert_with(|| {
                *made += 1;
                Entry { number: *made, live: true, ..Entry::default() }
            });
        }
        state.groups.retain(|group, entry| {
            entry.queued = false;
            entry.joining > 0 || !is_empty(group)
        });
        state.wanted.clear(); // it is among the others
        state.groups.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an idle group when its time had come.
enum Idle {
    /// Somebody is joining it: to be looked at again.
    Busy,
    Forgotten,
    Needed,
}

impl State {
    fn forget(&mut self, group: &str, is_empty: impl Fn(&str) -> bool) -> Idle {
        let Some(entry) = self.groups.get_mut(group) else { return Idle::Needed };
        if entry.joining > 0 || !entry.live {
            return Idle::Busy;
        }
        entry.queued = false;
        if !is_empty(group) {
            return Idle::Needed;
        }
        self.groups.remove(group);
        Idle::Forgotten
    }
}

impl Hold<'_> {
    /// A member was added: from now on the hub tells when the group is empty.
    pub(crate) fn joined(mut self) {
        self.joined = true;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // An entry that was forgotten and made anew does not count this hold, but those of others.
        if let Some(entry) = self.subscriptions.state().groups.get_mut(self.group)
            && entry.number == self.number
        {
            entry.joining = entry.joining.saturating_sub(1);
        }
        if !self.joined {
            self.subscriptions.emptied(self.group);
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
    async fn many_joiners_of_one_group_ask_once_and_are_all_told() {
        let subscriptions = Subscriptions::new(LINGER);
        let g = group("g");
        let joiners: Vec<_> = (0..3).map(|_| subscriptions.acquire(&g)).collect();
        let changes = at(&subscriptions, Duration::ZERO, true);
        assert_eq!(changes.subscribe, [group("g")]);
        assert!(!subscriptions.is_live(&g));
        subscriptions.answered(&changes.subscribe, Ok(()));
        for (hold, answer) in joiners {
            assert_eq!(answer.unwrap().await.unwrap(), Ok(()));
            hold.joined();
        }
        assert!(subscriptions.acquire(&g).1.is_none(), "live: no waiting");
    }

    #[tokio::test]
    async fn an_empty_group_is_left_after_the_linger_and_not_before() {
        let subscriptions = live(&["g"]);
        subscriptions.emptied(&group("g"));
        subscriptions.emptied(&group("g"));
        assert_eq!(at(&subscriptions, LINGER / 2, true), Changes::default());
        assert_eq!(at(&subscriptions, LINGER * 2, true).unsubscribe, [group("g")]);
        assert_eq!(subscriptions.len(), 0);
    }

    #[tokio::test]
    async fn a_group_that_has_members_again_stays() {
        let subscriptions = live(&["g"]);
        subscriptions.emptied(&group("g"));
        assert_eq!(at(&subscriptions, LINGER * 2, false), Changes::default());
        assert!(subscriptions.is_live(&group("g")));
    }

    #[tokio::test]
    async fn a_joiner_keeps_an_empty_group_until_it_gives_up() {
        let subscriptions = live(&["g"]);
        let g = group("g");
        subscriptions.emptied(&g);
        let (hold, _) = subscriptions.acquire(&g);
        assert_eq!(at(&subscriptions, LINGER * 2, true), Changes::default());
        drop(hold);
        assert_eq!(at(&subscriptions, LINGER * 5, true).unsubscribe, [g]);
    }

    #[tokio::test]
    async fn a_group_left_and_joined_at_once_is_asked_for_again() {
        let subscriptions = live(&["g"]);
        subscriptions.emptied(&group("g"));
        assert_eq!(at(&subscriptions, LINGER * 2, true).unsubscribe, [group("g")]);
        subscriptions.acquire(&group("g")).0.joined();
        assert_eq!(at(&subscriptions, Duration::ZERO, false).subscribe, [group("g")]);
    }

    #[tokio::test]
    async fn a_cancelled_joiner_is_waited_for_without_a_linger_too() {
        let subscriptions = Subscriptions::new(Duration::ZERO);
        let g = group("g");
        drop(subscriptions.acquire(&g));
        assert_eq!(at(&subscriptions, Duration::ZERO, true).subscribe, [group("g")]);
        subscriptions.answered(&[group("g")], Ok(()));
        assert_eq!(at(&subscriptions, AGAIN * 2, true).unsubscribe, [g]);
        assert_eq!(subscriptions.len(), 0);
    }

    #[tokio::test]
    async fn who_was_refused_does_not_give_up_the_group_for_those_who_came_after() {
        let subscriptions = Subscriptions::new(LINGER);
        let g = group("g");
        let refused = subscriptions.acquire(&g);
        let changes = at(&subscriptions, Duration::ZERO, true);
        subscriptions.answered(&changes.subscribe, Err(Fault::Down));
        let (hold, _answer) = subscriptions.acquire(&g);
        drop(refused);
        let changes = at(&subscriptions, Duration::ZERO, true);
        subscriptions.answered(&changes.subscribe, Ok(()));
        assert_eq!(at(&subscriptions, LINGER * 2, true), Changes::default(), "it is about to have a member");
        hold.joined();
        assert!(subscriptions.is_live(&g));
    }

    #[tokio::test]
    async fn what_was_asked_for_in_an_outage_and_given_up_is_not_subscribed_to() {
        let subscriptions = live(&["old"]);
        subscriptions.interrupted(&Fault::Down);
        drop(subscriptions.acquire(&group("late")));
        assert_eq!(subscriptions.to_resume(|group| group == "late"), [group("old")]);
        assert_eq!(at(&subscriptions, Duration::ZERO, true), Changes::default());
    }

    #[tokio::test]
    async fn what_was_refused_on_the_way_back_is_not_live_and_asked_for_next_time() {
        let subscriptions = live(&["a", "b"]);
        subscriptions.refused("a", Fault::Down);
        subscriptions.refused("b", Fault::Down);
        assert!(!subscriptions.is_live("a"));
        assert_eq!(subscriptions.to_resume(|group| group == "b"), [group("a")]);
        assert_eq!(subscriptions.len(), 1, "the other one has no members any more");
    }

    #[tokio::test]
    async fn an_interruption_fails_waiters_and_keeps_groups_with_members() {
        let subscriptions = live(&["old"]);
        let new = group("new");
        let (hold, answer) = subscriptions.acquire(&new);
        subscriptions.interrupted(&Fault::Down);
        assert_eq!(answer.unwrap().await.unwrap(), Err(Fault::Down));
        drop(hold);
        assert_eq!(subscriptions.to_resume(|group| group == "new"), [group("old")]);
        assert!(subscriptions.to_resume(|_| true).is_empty());
        assert_eq!(at(&subscriptions, LINGER * 2, true), Changes::default());
    }

    #[tokio::test]
    async fn what_was_joined_in_an_outage_is_subscribed_to_once() {
        let subscriptions = live(&["old"]);
        subscriptions.interrupted(&Fault::Down);
        for _ in 0..2 {
            subscriptions.acquire("new").0.joined();
        }
        let mut wanted = subscriptions.to_resume(|_| false);
        wanted.sort_unstable();
        assert_eq!(wanted, ["new", "old"]);
        subscriptions.acquire("late").0.joined();
        assert_eq!(subscriptions.changes_now(|_| false).subscribe, ["late"], "the others are under way");
        assert_eq!(subscriptions.changes_now(|_| false), Changes::default());
        // A second attempt asks for all of it again.
        assert_eq!(subscriptions.to_resume(|_| false).len(), 3);
    }
}
