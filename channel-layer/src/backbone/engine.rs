//! The state that a layer, its shards and its tasks share.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    counters::Counters,
    echoes::{PendingByNumber, PendingEchoes},
    envelope::{self, Header, Target},
    error::LinkError,
    format::{Destination, Format, ShardOf, Topics},
    options::HubOptions,
    sequence::RecentUnions,
    shard::Shard,
};
use crate::{
    error::{Error, Result},
    events::EventSource,
    hub::{GroupObserver, Hub},
    layer::Deliveries,
    message::Message,
    name::{ChannelName, GroupName},
    selection::Selection,
    sync::{Mutex, lock},
};

/// The naming scheme of topics.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// The topics and payloads of other software.
    Foreign(Arc<dyn Format>),
    /// The engine's topics, with envelopes.
    Native(Topics),
}

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) options: HubOptions,
    pub(super) counters: Arc<Counters>,
    pub(super) hub: Hub,
    pub(super) events: Arc<EventSource>,
    pub(super) names: Names,
    pub(super) shard_of: ShardOf,
    /// The number of this process.
    pub(super) node: u64,
    /// The name of this process: its number in hexadecimal.
    pub(super) process: String,
    /// Group messages of this process that will come back, in envelopes.
    pub(super) echoes: PendingByNumber<SentMessage, Deliveries>,
    /// Group messages of this process that will come back, in foreign formats.
    pub(super) foreign_echoes: PendingEchoes<Message>,
    /// Probes, and requests to other processes.
    pub(super) requests: PendingByNumber<(), ()>,
    /// Set once the layer is closed.
    pub(super) closed: watch::Sender<bool>,
    /// Set with the first named channel in a group. Relaxed: a message received at that moment counts as an earlier
    /// one.
    pub(super) forwards: AtomicBool,
    /// Held for a set access, by the tasks of links. All shards share it.
    unions: Mutex<RecentUnions>,
    /// Numbers the envelopes. Relaxed: the numbers only have to differ.
    numbers: AtomicU64,
    /// Weak, because the shards own the engine. Set once, before the first message can come in.
    shards: OnceLock<Weak<[Shard]>>,
}

/// A group message of this process, kept so that its bytes are not decoded when it comes back.
#[derive(Debug)]
pub(super) struct SentMessage {
    pub(super) message: Message,
    pub(super) expires: Instant,
}

/// The id of the envelope that a message came in by, kept with the message. `None` for a message of this process that
/// has not been on the bus.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnvelopeId(pub(super) Option<u128>);

impl Engine {
    pub(super) fn new(
        options: HubOptions,
        counters: Arc<Counters>,
        names: Names,
        shard_of: ShardOf,
        shards: usize,
        node: u64,
    ) -> Arc<Self> {
        let engine = Arc::new(Self {
            options: options.bounded(),
            counters,
            hub: Hub::new(),
            events: Arc::new(EventSource::new(shards)),
            names,
            shard_of,
            node,
            process: format!("{node:016x}"),
            echoes: PendingByNumber::default(),
            foreign_echoes: PendingEchoes::default(),
            requests: PendingByNumber::default(),
            closed: watch::Sender::new(false),
            forwards: AtomicBool::new(false),
            unions: Mutex::default(),
            numbers: AtomicU64::new(1),
            shards: OnceLock::new(),
        });
        engine.hub.observe(Arc::new(Observer(Arc::downgrade(&engine))));
        engine
    }

    pub(super) fn set_shards(&self, shards: &Arc<[Shard]>) {
        self.shards.set(Arc::downgrade(shards)).expect("a layer sets its shards once");
    }

    /// The shards, while the layer lives.
    pub(super) fn shards(&self) -> Option<Arc<[Shard]>> {
        self.shards.get()?.upgrade()
    }

    /// Fails once the layer is closed.
    pub(super) fn check_open(&self) -> Result<()> {
        if *self.closed.borrow() { Err(Error::Closed) } else { Ok(()) }
    }

    /// The time at which a message expires that is delivered now.
    pub(super) fn expires(&self) -> Instant {
        Instant::now() + self.options.layer.expiry
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// An envelope of this process.
    pub(super) fn envelope(
        &self,
        number: u64,
        target: &Target,
        message: Option<&Message>,
    ) -> Result<Vec<u8>> {
        self.envelope_for(number, target, message, self.options.layer.expiry)
    }

    /// An envelope of a message that is not new.
    pub(super) fn envelope_for(
        &self,
        number: u64,
        target: &Target,
        message: Option<&Message>,
        lifetime: Duration,
    ) -> Result<Vec<u8>> {
        let header = Header { publisher: self.node, number, sequence: 0, lifetime };
        let bytes = envelope::encode(&header, target, message)?;
        self.check_size(bytes.len())?;
        Ok(bytes)
    }

    /// Fails for messages over the limit of the bus.
    pub(super) fn check_size(&self, bytes: usize) -> Result<()> {
        let most = self.options.max_message;
        if bytes > most {
            let reason = format!("it takes {bytes} bytes on the wire, over the limit of {most}");
            return Err(Error::InvalidMessage(reason.into()));
        }
        Ok(())
    }

    /// The longest time for a complete call: the wait in the queue, and the round trip.
    pub(super) fn call_timeout(&self) -> Duration {
        self.options.call_timeout()
    }

    /// The topic and the shard of a group.
    pub(super) fn place_of_group<'a>(&self, shards: &'a [Shard], group: &GroupName) -> (String, &'a Shard) {
        match &self.names {
            Names::Native(topics) => (topics.group(group), self.shard(shards, group.as_str())),
            Names::Foreign(format) => {
                let topic = format.group_topic(group);
                let shard = self.shard(shards, &topic);
                (topic, shard)
            }
        }
    }

    /// The topic and the shard of a channel that has a subscription for itself.
    pub(super) fn place_of_channel<'a>(
        &self,
        shards: &'a [Shard],
        channel: &ChannelName,
    ) -> (String, &'a Shard) {
        match &self.names {
            Names::Native(topics) => (topics.queue(channel), self.shard(shards, channel.as_str())),
            Names::Foreign(format) => {
                let topic = format.channel_topic(channel);
                let shard = self.shard(shards, &topic);
                (topic, shard)
            }
        }
    }

    /// The shard that a name belongs to.
    pub(super) fn shard<'a>(&self, shards: &'a [Shard], name: &str) -> &'a Shard {
        &shards[self.shard_index(shards, name)]
    }

    /// The index of the shard that a name belongs to.
    pub(super) fn shard_index(&self, shards: &[Shard], name: &str) -> usize {
        (self.shard_of)(name, shards.len()).min(shards.len() - 1)
    }

    /// Whether the name is that of a mailbox, which only its process receives from.
    pub(super) fn is_mailbox(&self, channel: &ChannelName) -> bool {
        match &self.names {
            Names::Native(_) => channel.is_process_local(),
            Names::Foreign(format) => format.is_mailbox(channel),
        }
    }

    /// The group or channel of a topic.
    pub(super) fn destination(&self, topic: &str) -> Option<Destination> {
        match &self.names {
            Names::Native(topics) => topics.destination(topic),
            Names::Foreign(format) => format.destination(topic),
        }
    }

    /// Adds a mailbox of this process to a group, once the group's messages come in. Returns false if it was closed
    /// meanwhile.
    pub(super) async fn join(
        &self,
        shards: &[Shard],
        group: &GroupName,
        channel: &ChannelName,
    ) -> Result<bool, LinkError> {
        self.join_selecting(shards, group, channel, &Selection::All).await
    }

    /// Adds a mailbox of this process to a group for a part of its messages, as [`join`](Self::join) does.
    pub(super) async fn join_selecting(
        &self,
        shards: &[Shard],
        group: &GroupName,
        channel: &ChannelName,
        selection: &Selection,
    ) -> Result<bool, LinkError> {
        let mut joined = false;
        let (topic, shard) = self.place_of_group(shards, group);
        let join = || {
            joined = self.hub.join_selecting(group, channel, selection);
            joined
        };
        shard.join(&topic, join).await?;
        Ok(joined)
    }

    /// Publishes to every process, by the first shard.
    pub(super) async fn publish_to_everyone(&self, shards: &[Shard], target: &Target) -> Result<()> {
        let Names::Native(topics) = &self.names else { return Ok(()) };
        let envelope = self.envelope(self.next_number(), target, None)?;
        shards[0].publish(&topics.everyone(), &envelope).await?;
        Ok(())
    }

    /// Whether this is the first copy of a message to several groups.
    pub(super) fn is_first_copy(&self, id: u128) -> bool {
        lock(&self.unions).is_first(id)
    }

    fn emptied(&self, place: impl FnOnce(&[Shard]) -> (String, &Shard)) {
        if let Some(shards) = self.shards() {
            let (topic, shard) = place(&shards);
            shard.emptied(&topic);
        }
    }
}

/// Ends subscriptions with their groups and mailboxes. Weak, because the hub owns it and the engine owns the hub.
struct Observer(Weak<Engine>);

impl GroupObserver for Observer {
    fn group_emptied(&self, group: &GroupName) {
        if let Some(engine) = self.0.upgrade() {
            engine.emptied(|shards| engine.place_of_group(shards, group));
        }
    }

    fn mailbox_closed(&self, channel: &ChannelName) {
        let Some(engine) = self.0.upgrade() else { return };
        let is_subscribed = matches!(engine.names, Names::Foreign(_)) || !channel.is_process_local();
        if is_subscribed {
            engine.emptied(|shards| engine.place_of_channel(shards, channel));
        }
    }
}
