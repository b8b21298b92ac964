//! The waiting receivers of named channels, and the messages taken for them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use super::queues::{Taken, Wanted};
use crate::{
    message::Message,
    name::ChannelName,
    sync::{Mutex, MutexGuard, lock},
};

/// The time for which a message without a receiver is kept. A receiver may be cancelled and return at once, as in a
/// `select!` inside a loop. Then the message is given back, for other processes.
pub(super) const GRACE: Duration = Duration::from_millis(50);

/// A message that was taken from a queue and can be given back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Returnable {
    pub(super) message: Message,
    pub(super) taken: Taken,
}

/// Messages of one channel that are to be given back, in the order of the queue.
type Leftovers = (ChannelName, Vec<Returnable>);

/// The named channels of one shard that this process receives from.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    /// Held for a map access, by receivers and by the reader.
    state: Mutex<ReceiversState>,
    /// Wakes the reader when a receiver was added or removed, or when the receivers were closed.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct ReceiversState {
    channels: HashMap<ChannelName, ChannelQueue>,
    closed: bool,
}

#[derive(Debug, Default)]
struct ChannelQueue {
    waiting: usize,
    kept: VecDeque<Returnable>,
    /// The time at which the messages are given back, if more are kept than receivers wait for.
    due: Option<Instant>,
    /// Wakes one receiver, and the next one if that one is cancelled before it took the message.
    available: Arc<Notify>,
}

/// A call of `receive`.
struct ReceiveCall<'a> {
    receivers: &'a Receivers,
    channel: &'a ChannelName,
    available: Arc<Notify>,
}

struct ReceiversClosed;

impl Receivers {
    /// Waits for a message. Returns `None` once the receivers are closed. Cancel safe: a message is taken when it is
    /// returned.
    pub(super) async fn receive(&self, channel: &ChannelName) -> Option<Message> {
        let call = self.enter(channel);
        loop {
            // Created before the check, so that no notification in between is missed.
            let available = call.available.notified();
            match call.take() {
                Ok(Some(returnable)) => return Some(returnable.message),
                Ok(None) => available.await,
                Err(ReceiversClosed) => return None,
            }
        }
    }

    /// The number of messages that the receivers of each channel wait for, where it is not zero.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let state = self.state();
        let wanted = state.channels.iter().filter(|(_, at)| at.missing() > 0);
        wanted.map(|(channel, at)| Wanted { channel: channel.clone(), count: at.missing() }).collect()
    }

    /// Whether a message is wanted of a channel that is not among these.
    pub(super) fn wants_other_than(&self, wanted: &[Wanted]) -> bool {
        let is_known = |channel: &ChannelName| wanted.iter().any(|wanted| wanted.channel == *channel);
        self.state().channels.iter().any(|(channel, at)| at.missing() > 0 && !is_known(channel))
    }

    /// Whether a message of one of these channels is no longer wanted.
    pub(super) fn want_less_than(&self, wanted: &[Wanted]) -> bool {
        let state = self.state();
        let is_wanted =
            |wanted: &Wanted| state.channels.get(&wanted.channel).is_some_and(|at| at.missing() > 0);
        !wanted.iter().all(is_wanted)
    }

    /// Hands messages to waiting receivers, and keeps the rest.
    pub(super) fn distribute(&self, messages: impl IntoIterator<Item = Returnable>) {
        let mut state = self.state();
        for returnable in messages {
            let at = state.channels.entry(returnable.taken.channel.clone()).or_default();
            at.kept.push_back(returnable);
            at.available.notify_one();
            at.settle();
        }
    }

    /// Takes the messages that were kept for longer than the grace. Once the receivers are closed, takes all of them.
    pub(super) fn leftovers(&self, now: Instant) -> Vec<Leftovers> {
        let mut state = self.state();
        let (mut leftovers, closed) = (Vec::new(), state.closed);
        state.channels.retain(|channel, at| {
            if let Some(due) = at.due
                && (closed || due <= now)
            {
                leftovers.push((channel.clone(), at.kept.drain(..).collect()));
                at.due = None;
            }
            at.waiting > 0 || at.due.is_some()
        });
        leftovers
    }

    /// The time of the next leftovers.
    pub(super) fn due(&self) -> Option<Instant> {
        self.state().channels.values().filter_map(|at| at.due).min()
    }

    /// Keeps messages that could not be given back, ahead of all others of their channel. Those without a receiver are
    /// leftovers again at the given time.
    pub(super) fn keep(&self, channel: ChannelName, messages: Vec<Returnable>, until: Instant) {
        let mut state = self.state();
        let at = state.channels.entry(channel).or_default();
        for message in messages.into_iter().rev() {
            at.kept.push_front(message);
            at.available.notify_one();
        }
        at.settle();
        at.due = at.due.map(|_| until);
    }

    /// Drops the messages that are kept.
    pub(super) fn discard(&self) {
        self.state().channels.values_mut().for_each(|at| {
            at.kept.clear();
            at.settle();
        });
    }

    /// Ends all calls of `receive`. The reader gives back the messages that are kept.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for at in state.channels.values_mut() {
            at.waiting = 0;
            at.settle();
            at.available.notify_waiters();
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn enter<'a>(&'a self, channel: &'a ChannelName) -> ReceiveCall<'a> {
        let mut state = self.state();
        let at = state.channels.entry(channel.clone()).or_default();
        at.waiting += 1;
        at.settle();
        let available = at.available.clone();
        drop(state);
        self.changed.notify_one();
        ReceiveCall { receivers: self, channel, available }
    }

    fn state(&self) -> MutexGuard<'_, ReceiversState> {
        lock(&self.state)
    }
}

impl ReceiveCall<'_> {
    fn take(&self) -> Result<Option<Returnable>, ReceiversClosed> {
        let mut state = self.receivers.state();
        if state.closed {
            return Err(ReceiversClosed);
        }
        let Some(at) = state.channels.get_mut(self.channel) else { return Ok(None) };
        let taken = at.kept.pop_front();
        // One notification may stand for several messages: wake the next receiver for them.
        if taken.is_some() && !at.kept.is_empty() {
            at.available.notify_one();
        }
        at.settle();
        Ok(taken)
    }
}

impl Drop for ReceiveCall<'_> {
    fn drop(&mut self) {
        if let Some(at) = self.receivers.state().channels.get_mut(self.channel) {
            at.waiting = at.waiting.saturating_sub(1);
            at.settle();
        }
        self.receivers.changed.notify_one();
    }
}

impl ChannelQueue {
    /// The number of receivers for which no message is kept.
    fn missing(&self) -> usize {
        self.waiting.saturating_sub(self.kept.len())
    }

    /// Sets the time at which messages without a receiver are given back.
    fn settle(&mut self) {
        if self.kept.len() <= self.waiting {
            self.due = None;
        } else {
            self.due = self.due.or_else(|| Some(Instant::now() + GRACE));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::{task::yield_now, time::timeout};

    use super::*;

    fn jobs() -> ChannelName {
        "jobs".parse().unwrap()
    }

    fn returnable(channel: &str, n: i64) -> Returnable {
        let taken = Taken { channel: channel.parse().unwrap(), body: Bytes::new(), receipt: Bytes::new() };
        Returnable { message: Message::new("job").with("n", n), taken }
    }

    fn number(message: &Message) -> i64 {
        message.get("n").and_then(|n| n.as_i64()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn cancelling_passes_the_message_on() {
        let receivers = Receivers::default();
        let jobs = jobs();
        assert!(timeout(Duration::from_millis(1), receivers.receive(&jobs)).await.is_err());
        receivers.distribute([returnable("jobs", 1)]);
        assert!(receivers.wanted().is_empty());
        assert_eq!(number(&receivers.receive(&jobs).await.unwrap()), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_messages_for_the_grace() {
        let receivers = Receivers::default();
        let two = || vec![returnable("jobs", 1), returnable("jobs", 2)];
        receivers.distribute(two());
        assert!(receivers.leftovers(Instant::now()).is_empty());
        let due = receivers.due().unwrap();
        assert_eq!(due, Instant::now() + GRACE);
        assert_eq!(receivers.leftovers(due), [(jobs(), two())]);
        assert_eq!(receivers.due(), None);
        receivers.keep(jobs(), two(), due + GRACE);
        assert_eq!(receivers.due(), Some(due + GRACE));
        assert_eq!(number(&receivers.receive(&jobs()).await.unwrap()), 1, "in the order of the queue");
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_receivers() {
        let receivers = Arc::new(Receivers::default());
        let waiting = tokio::spawn({
            let receivers = receivers.clone();
            async move { receivers.receive(&jobs()).await }
        });
        yield_now().await;
        receivers.distribute([returnable("other", 1)]);
        receivers.close();
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!(receivers.leftovers(Instant::now()).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_reaches_all_receivers() {
        let receivers = Arc::new(Receivers::default());
        let receive = || {
            let receivers = receivers.clone();
            tokio::spawn(async move { number(&receivers.receive(&jobs()).await.unwrap()) })
        };
        let tasks: Vec<_> = (0..3).map(|_| receive()).collect();
        yield_now().await;
        assert_eq!(receivers.wanted(), [Wanted { channel: jobs(), count: 3 }]);
        receivers.distribute((0..3).map(|n| returnable("jobs", n)));
        let mut got = Vec::new();
        for task in tasks {
            got.push(task.await.unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_receivers_want_messages() {
        let receivers = Receivers::default();
        let jobs = jobs();
        let wanted = [Wanted { channel: jobs.clone(), count: 1 }];
        {
            let mut receive = std::pin::pin!(receivers.receive(&jobs));
            assert!(futures_util::FutureExt::now_or_never(receive.as_mut()).is_none());
            assert_eq!(receivers.wanted(), wanted);
            assert!(receivers.wants_other_than(&[]) && !receivers.wants_other_than(&wanted));
            assert!(!receivers.want_less_than(&wanted));
        }
        assert!(receivers.want_less_than(&wanted) && !receivers.wants_other_than(&[]));
    }
}
