//! A bus within one process, for tests: of the engine, and of programs that want several "processes" and faults
//! without a server (feature `conformance`).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> channel_layer::Result<()> {
//! use channel_layer::{ChannelLayer, ChannelLayerExt, Message, backbone::{HubLayer, HubOptions, bus::Bus}};
//!
//! let bus = Bus::new();
//! let one = HubLayer::connect(bus.backbone(), HubOptions::default()).await?;
//! let other = HubLayer::connect(bus.backbone(), HubOptions::default()).await?;
//! let mut mailbox = one.new_channel().await?;
//! one.join("lobby", mailbox.channel()).await?;
//! let _ = other.group_send_message("lobby", Message::new("hello")).await?;
//! assert_eq!(mailbox.recv().await.event_type(), Some("hello"));
//! bus.sever();
//! assert!(other.group_send_message("lobby", Message::new("hello")).await.is_err());
//! bus.mend();
//! # Ok(()) }
//! ```

mod link;
mod queues;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};

use self::{link::BusLink, queues::Stored};
use super::link::{Backbone, BackboneLink, Inbound};
use crate::{
    error::{Error, Result},
    name::ChannelName,
    sync::{Mutex, MutexGuard, lock},
};

/// The most messages queued for one link. Later ones are lost, as on a bus that disconnects slow subscribers.
const INBOX: usize = 1 << 16;

/// A bus. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Bus(Arc<SharedBus>);

/// The connection of one process to a [`Bus`].
#[derive(Clone, Debug)]
pub struct BusBackbone(Arc<SharedBus>);

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
struct SharedBus {
    /// Held for a map access.
    state: Mutex<BusState>,
    /// The condition has changed.
    changed: Notify,
    /// A message was added to a queue.
    pushed: Notify,
}

/// The condition of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition {
    #[default]
    Healthy,
    /// Connections remain open, and no call returns.
    Frozen,
    /// Connections are broken, and none can be made.
    Severed,
}

#[derive(Default)]
struct BusState {
    options: BusOptions,
    condition: Condition,
    random: fastrand::Rng,
    links: BTreeMap<u64, Arc<Inbox>>,
    made: u64,
    topics: HashMap<String, BTreeSet<u64>>,
    /// The links of shared subscriptions. One of them gets each message.
    shared: HashMap<String, Vec<u64>>,
    queues: HashMap<ChannelName, Vec<Stored>>,
    /// The ids of messages that several processes may push, and the time of the first push.
    pushed_once: HashMap<u128, Instant>,
}

/// The messages queued for one link.
#[derive(Debug, Default)]
struct Inbox {
    messages: Mutex<std::collections::VecDeque<Inbound>>,
    arrived: Notify,
}

impl Bus {
    /// A bus that can do everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// A bus with these abilities and faults.
    pub fn with_options(options: BusOptions) -> Self {
        let bus = Self::default();
        bus.set_options(options);
        bus
    }

    /// Changes abilities and faults.
    pub fn set_options(&self, options: BusOptions) {
        let mut state = self.0.state();
        state.options = options;
        state.random = fastrand::Rng::with_seed(options.seed);
    }

    /// Returns the backbone for one process.
    pub fn backbone(&self) -> BusBackbone {
        BusBackbone(self.0.clone())
    }

    /// Breaks all links, and lets none be made, until [`mend`](Self::mend).
    pub fn sever(&self) {
        self.0.set(Condition::Severed);
    }

    /// Stops answering, without breaking links, until [`mend`](Self::mend).
    pub fn freeze(&self) {
        self.0.set(Condition::Frozen);
    }

    /// Ends a fault. Frozen calls continue.
    pub fn mend(&self) {
        self.0.set(Condition::Healthy);
    }

    /// Delivers a payload to all subscribers of a topic, as if a process had published it.
    pub fn inject(&self, topic: &str, payload: &[u8]) {
        self.0.state().deliver(topic, payload);
    }

    /// The number of subscriptions, of all links.
    pub fn subscriptions(&self) -> usize {
        let state = self.0.state();
        state.topics.values().map(BTreeSet::len).chain(state.shared.values().map(Vec::len)).sum()
    }

    /// The number of links.
    pub fn links(&self) -> usize {
        self.0.state().links.len()
    }
}

#[async_trait]
impl Backbone for BusBackbone {
    async fn connect(&self) -> Result<Arc<dyn BackboneLink>> {
        self.0.thaw().await;
        let mut state = self.0.state();
        if state.condition == Condition::Severed {
            return Err(Error::Unavailable("the bus is severed".into()));
        }
        state.made += 1;
        let (number, inbox) = (state.made, Arc::<Inbox>::default());
        state.links.insert(number, inbox.clone());
        drop(state);
        Ok(Arc::new(BusLink::new(self.0.clone(), number, inbox)))
    }
}

impl SharedBus {
    fn set(&self, condition: Condition) {
        let mut state = self.state();
        state.condition = condition;
        if condition == Condition::Severed {
            // Messages queued for a link are lost with it.
            state.links.clear();
            state.topics.clear();
            state.shared.clear();
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until the bus is not frozen.
    async fn thaw(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // before the check, so that no change in between is missed
            if self.state().condition != Condition::Frozen {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, BusState> {
        lock(&self.state)
    }
}

impl BusState {
    /// Delivers to the subscribers of a topic. Returns the number of links that took the message.
    fn deliver(&mut self, topic: &str, payload: &[u8]) -> usize {
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

    fn forget(&mut self, link: u64) {
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
    fn push(&self, topic: &str, payload: &[u8]) {
        let mut messages = lock(&self.messages);
        if messages.len() < INBOX {
            messages.push_back(Inbound { topic: topic.to_owned(), bytes: payload.to_vec().into() });
        }
        drop(messages);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Inbound> {
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
