//! Who waits for messages of named channels, and what has been taken for them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use channel_layer::{ChannelName, Message};
use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use crate::stats::Counters;

/// What was taken and nobody waits for is kept this long, for a receiver that was cancelled and comes back at
/// once, as in a `select!` inside a loop; then it goes back, for other processes.
pub(crate) const GRACE: Duration = Duration::from_millis(50);

/// A message as it was taken, and as it can be given back.
pub(crate) trait Kept: Send {
    /// The message, if it can be read.
    fn message(&self) -> Option<Message>;
}

/// The named channels of one link that this process receives from.
#[derive(Debug)]
pub(crate) struct Desk<K> {
    /// Held for a map access, by receivers and by the reader.
    state: Mutex<State<K>>,
    counters: Arc<Counters>,
    /// Wakes the reader: there is a new wish, or somebody has left.
    pub(crate) changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    lines: HashMap<ChannelName, Line<K>>,
    closed: bool,
}

#[derive(Debug)]
struct Line<K> {
    waiting: usize,
    kept: VecDeque<K>,
    /// Since when something is kept that nobody waits for.
    idle_since: Option<Instant>,
    /// Wakes one receiver, and the next one if that one is cancelled before it took the message.
    arrivals: Arc<Notify>,
}

/// A call of `receive`, for as long as it waits.
struct Place<'a, K: Kept> {
    desk: &'a Desk<K>,
    channel: &'a ChannelName,
    arrivals: Arc<Notify>,
}

impl<K: Kept> Desk<K> {
    /// Waits for a message; nothing once the desk is closed. Cancel safe: it is taken when it is returned.
    pub(crate) async fn receive(&self, channel: &ChannelName) -> Option<Message> {
        let place = self.enter(channel);
        loop {
            // Asked before looking, so that what comes in between is not missed.
            let arrival = place.arrivals.notified();
            match place.take() {
                Ok(Some(stored)) => match stored.message() {
                    Some(message) => return Some(message),
                    None => self.counters.note_unreadable("a message", "a broken message on a named channel"),
                },
                Ok(None) => arrival.await,
                Err(Closed) => return None,
            }
        }
    }

    /// How many messages each channel's receivers still want.
    pub(crate) fn wanted(&self) -> Vec<(ChannelName, usize)> {
        let state = self.state();
        let wanted =
            state.lines.iter().map(|(channel, line)| (channel, line.waiting.saturating_sub(line.kept.len())));
        wanted.filter(|(_, count)| *count > 0).map(|(channel, count)| (channel.clone(), count)).collect()
    }

    /// Does somebody want a message of a channel that is not among these?
    pub(crate) fn wants_other_than(&self, channels: &[(ChannelName, usize)]) -> bool {
        let known = |channel| channels.iter().any(|(known, _)| known == channel);
        self.state().lines.iter().any(|(channel, line)| line.waiting > line.kept.len() && !known(channel))
    }

    /// Hands messages to those who wait, and keeps the rest for them.
    pub(crate) fn hand_out(&self, channel: &ChannelName, messages: Vec<K>) {
        let mut state = self.state();
        let line = state.lines.entry(channel.clone()).or_default();
        for message in messages {
            line.kept.push_back(message);
            line.arrivals.notify_one();
        }
        line.settle();
    }

    /// What has been kept too long for nobody; everything, once the desk is closed. And when to ask again.
    pub(crate) fn leftovers(&self, now: Instant) -> (Vec<(ChannelName, Vec<K>)>, Option<Instant>) {
        let mut state = self.state();
        let (mut leftovers, mut next) = (Vec::new(), None::<Instant>);
        let closed = state.closed;
        state.lines.retain(|channel, line| {
            let Some(since) = line.idle_since else { return line.waiting > 0 };
            if !closed && now < since + GRACE {
                next = Some(next.map_or(since + GRACE, |next| next.min(since + GRACE)));
                return true;
            }
            leftovers.push((channel.clone(), line.kept.drain(..).collect()));
            line.idle_since = None;
            line.waiting > 0
        });
        (leftovers, next)
    }

    /// Takes a leftover that could not be given back.
    pub(crate) fn keep(&self, channel: &ChannelName, messages: Vec<K>) {
        let mut state = self.state();
        let line = state.lines.entry(channel.clone()).or_default();
        messages.into_iter().rev().for_each(|message| line.kept.push_front(message));
        line.settle();
    }

    /// Drops what is kept.
    pub(crate) fn discard(&self) {
        self.state().lines.values_mut().for_each(|line| {
            line.kept.clear();
            line.settle();
        });
    }

    /// Ends all receivers; the reader gives back what is kept.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for line in state.lines.values_mut() {
            line.waiting = 0;
            line.settle();
            line.arrivals.notify_waiters();
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn enter<'a>(&'a self, channel: &'a ChannelName) -> Place<'a, K> {
        let mut state = self.state();
        let line = state.lines.entry(channel.clone()).or_default();
        line.waiting += 1;
        line.settle();
        let arrivals = line.arrivals.clone();
        drop(state);
        self.changed.notify_one();
        Place { desk: self, channel, arrivals }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Closed;

impl<K> Default for Desk<K> {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl<K> Desk<K> {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { state: Mutex::default(), counters, changed: Notify::default() }
    }
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self { lines: HashMap::default(), closed: false }
    }
}

impl<K> Default for Line<K> {
    fn default() -> Self {
        Self { waiting: 0, kept: VecDeque::default(), idle_since: None, arrivals: Arc::default() }
    }
}

impl<K: Kept> Place<'_, K> {
    fn take(&self) -> Result<Option<K>, Closed> {
        let mut state = self.desk.state();
        if state.closed {
            return Err(Closed);
        }
        let Some(line) = state.lines.get_mut(self.channel) else { return Ok(None) };
        let taken = line.kept.pop_front();
        // One arrival may stand for several messages: pass it on to the next receiver.
        if taken.is_some() && !line.kept.is_empty() {
            line.arrivals.notify_one();
        }
        line.settle();
        Ok(taken)
    }
}

impl<K: Kept> Drop for Place<'_, K> {
    fn drop(&mut self) {
        if let Some(line) = self.desk.state().lines.get_mut(self.channel) {
            line.waiting = line.waiting.saturating_sub(1);
            line.settle();
        }
        self.desk.changed.notify_one();
    }
}

impl<K> Line<K> {
    /// Notes since when more is kept than is waited for.
    fn settle(&mut self) {
        if self.kept.len() <= self.waiting {
            self.idle_since = None;
        } else if self.idle_since.is_none() {
            self.idle_since = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::{super::store::Stored, *};

    fn jobs() -> ChannelName {
        "jobs".parse().unwrap()
    }

    fn stored(n: i64) -> Stored {
        let mut bytes = b"99:".to_vec();
        Message::new("job").with("n", n).write_to(&mut bytes).unwrap();
        Stored(bytes)
    }

    fn number(message: &Message) -> i64 {
        message.get("n").and_then(|n| n.as_i64()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_cancelled_receiver_leaves_goes_to_the_next_one() {
        let desk = Desk::<Stored>::default();
        let jobs = jobs();
        assert!(timeout(Duration::from_millis(1), desk.receive(&jobs)).await.is_err());
        desk.hand_out(&jobs, vec![stored(1)]);
        assert!(desk.wanted().is_empty());
        assert_eq!(number(&desk.receive(&jobs).await.unwrap()), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_comes_for_is_given_back_after_a_grace() {
        let desk = Desk::<Stored>::default();
        desk.hand_out(&jobs(), vec![stored(1), stored(2)]);
        let (none, next) = desk.leftovers(Instant::now());
        assert!(none.is_empty() && next.is_some());
        let (leftovers, _) = desk.leftovers(Instant::now() + GRACE);
        assert_eq!(leftovers, [(jobs(), vec![stored(1), stored(2)])]);
        desk.keep(&jobs(), vec![stored(1), stored(2)]);
        assert_eq!(
            number(&desk.receive(&jobs()).await.unwrap()),
            1,
            "in order, if it could not be given back"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_receivers_and_gives_everything_back() {
        let desk = Arc::new(Desk::<Stored>::default());
        let waiting = tokio::spawn({
            let desk = desk.clone();
            async move { desk.receive(&jobs()).await }
        });
        tokio::task::yield_now().await;
        desk.hand_out(&"other".parse().unwrap(), vec![stored(1)]);
        desk.close();
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!(desk.leftovers(Instant::now()).0.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_reaches_all_who_wait_each_message_once() {
        let desk = Arc::new(Desk::<Stored>::default());
        let receive = || {
            let desk = desk.clone();
            tokio::spawn(async move { number(&desk.receive(&jobs()).await.unwrap()) })
        };
        let receivers: Vec<_> = (0..3).map(|_| receive()).collect();
        tokio::task::yield_now().await;
        assert_eq!(desk.wanted(), [(jobs(), 3)]);
        desk.hand_out(&jobs(), (0..3).map(stored).collect());
        let mut got = Vec::new();
        for receiver in receivers {
            got.push(receiver.await.unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2]);
    }
}
