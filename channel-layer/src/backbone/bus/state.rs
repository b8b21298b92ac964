//! The state of the bus: its links, topics, queues and faults.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use super::super::link::Inbound;
use crate::{
    error::{Error, Result},
    name::ChannelName,
    sync::{Mutex, MutexGuard, lock},
};

/// The most messages queued for one link. Later ones are lost, as on a bus that disconnects slow subscribers.
const INBOX: usize = 1 << 16;

/// The time for which the ids of pushes are remembered.
const REMEMBERED: Duration = Duration::from_secs(30);

/// A message in a queue.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) body: Bytes,
    pub(super) expires: Instant,
}

/// The abilities of a bus, and its faults. By default it can do everything and loses no message.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BusOptions {
    /// Whether it acknowledges subscriptions.
    pub acknowledges: bool,
    /// Whether it reports the number of links that took a message.
    pub counts: bool,
    /// Loses one message in this number on average, for a single subscriber.
    pub loses_one_in: Option<u32>,
    /// Delivers one message in this number twice on average, for a single subscriber.
    pub repeats_one_in: Option<u32>,
    /// Whether it has work queues.
    pub queues: bool,
    /// The seed of the random choices.
    pub seed: u64,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            acknowledges: true,
            counts: true,
            loses_one_in: None,
            repeats_one_in: None,
            queues: true,
            seed: 0,
        }
    }
}

#[derive(Default)]
pub(super) struct SharedBus {
    /// Held for a map access.
    pub(super) state: Mutex<BusState>,
    /// The condition has changed.
    pub(super) changed: Notify,
    /// A message was added to a queue.
    pub(super) pushed: Notify,
}

/// The condition of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BusCondition {
    #[default]
    Healthy,
    /// Connections remain open, and no call returns.
    Frozen,
    /// Connections are broken, and none can be made.
    Severed,
}

#[derive(Default)]
pub(super) struct BusState {
    pub(super) options: BusOptions,
    pub(super) condition: BusCondition,
    pub(super) random: fastrand::Rng,
    pub(super) links: BTreeMap<u64, Arc<Inbox>>,
    pub(super) made: u64,
    pub(super) topics: HashMap<String, BTreeSet<u64>>,
    /// The links of shared subscriptions. One of them gets each message.
    pub(super) shared: HashMap<String, Vec<u64>>,
    pub(super) queues: HashMap<ChannelName, Vec<Stored>>,
    /// The ids of messages that several processes may push, and the time of the first push.
    pub(super) pushed_once: HashMap<u128, Instant>,
}

/// The messages queued for one link.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) messages: Mutex<VecDeque<Inbound>>,
    pub(super) arrived: Notify,
}

impl SharedBus {
    pub(super) fn set(&self, condition: BusCondition) {
        let mut state = self.state();
        state.condition = condition;
        if condition == BusCondition::Severed {
            // Messages queued for a link are lost with it.
            state.links.clear();
            state.topics.clear();
            state.shared.clear();
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until the bus is not frozen.
    pub(super) async fn thaw(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // before the check, so that no change in between is missed
            if self.state().condition != BusCondition::Frozen {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, BusState> {
        lock(&self.state)
    }
}

impl BusState {
    /// Fails if the link was broken.
    pub(super) fn check(&self, link: u64) -> Result<()> {
        match self.links.contains_key(&link) {
            true => Ok(()),
            false => Err(Error::Interrupted("the bus was severed".into())),
        }
    }

    /// Whether no push has had this id within the time that ids are remembered.
    pub(super) fn is_new(&mut self, id: u128) -> bool {
        let now = Instant::now();
        self.pushed_once.retain(|_, at| now.duration_since(*at) < REMEMBERED);
        self.pushed_once.insert(id, now).is_none()
    }

    pub(super) fn queue(&mut self, channel: &ChannelName) -> &mut Vec<Stored> {
        let now = Instant::now();
        let queue = self.queues.entry(channel.clone()).or_default();
        queue.retain(|stored| stored.expires > now);
        queue
    }

    /// Delivers to the subscribers of a topic. Returns the number of links that took the message.
    pub(super) fn deliver(&mut self, topic: &str, payload: &[u8]) -> usize {
        let mut to: Vec<u64> = self.topics.get(topic).into_iter().flatten().copied().collect();
        if let Some(sharing) = self.shared.get(topic)
            && !sharing.is_empty()
        {
            to.push(sharing[self.random.usize(..sharing.len())]);
        }
        for link in &to {
            let copies =
                match (self.happens(self.options.loses_one_in), self.happens(self.options.repeats_one_in)) {
                    (true, _) => 0,
                    (_, true) => 2,
                    _ => 1,
                };
            let Some(inbox) = self.links.get(link) else { continue };
            (0..copies).for_each(|_| inbox.push(topic, payload));
        }
        to.len()
    }

    fn happens(&mut self, one_in: Option<u32>) -> bool {
        one_in.is_some_and(|one_in| self.random.u32(..one_in.max(1)) == 0)
    }

    pub(super) fn forget(&mut self, link: u64) {
        self.links.remove(&link);
        self.topics.retain(|_, links| {
            links.remove(&link);
            !links.is_empty()
        });
        self.shared.retain(|_, links| {
            links.retain(|other| *other != link);
            !links.is_empty()
        });
    }
}

impl Inbox {
    pub(super) fn push(&self, topic: &str, payload: &[u8]) {
        let mut messages = lock(&self.messages);
        if messages.len() < INBOX {
            messages.push_back(Inbound { topic: topic.to_owned(), bytes: payload.to_vec().into() });
        }
        drop(messages);
        self.arrived.notify_one();
    }

    pub(super) fn pop(&self) -> Option<Inbound> {
        lock(&self.messages).pop_front()
    }
}

impl fmt::Debug for SharedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Bus")
            .field("condition", &state.condition)
            .field("links", &state.links.len())
            .field("topics", &state.topics.len())
            .finish()
    }
}
