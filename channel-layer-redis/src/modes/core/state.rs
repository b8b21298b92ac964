//! The state shared by the layer, its hosts and the reconciliation of its groups.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::{
    ChannelName, Error, EventSource, GroupName, Message, RESERVED_KEY, Result, Value,
    backbone::PendingEchoes,
    hub::{GroupObserver, Hub},
};
use tokio::sync::Notify;

use super::{
    clock::ScoreClock, keys::CoreKeys, memberships::Memberships, probes::PendingProbes, send_order::SendOrder,
};
use crate::{
    config::RedisConfig,
    format::PayloadFormat,
    format::shard_of,
    stats::{self, Counters},
    sync::lock,
};

/// The payloads of this mode: with a random prefix, because equal members of a sorted set are one member, and with a
/// lifetime for encrypted ones.
pub(crate) fn payload_format(config: &RedisConfig) -> PayloadFormat {
    let lifetime = Duration::from_secs(config.hub.layer.expiry.as_secs().saturating_add(10));
    PayloadFormat::new(config.codec.clone(), config.keys.clone())
        .with_random_prefix(config.random_prefix_length)
        .with_lifetime(lifetime)
}

#[derive(Debug)]
pub(super) struct CoreState {
    pub(super) config: Arc<RedisConfig>,
    pub(super) counters: Arc<Counters>,
    pub(super) hub: Hub,
    pub(super) keys: CoreKeys,
    pub(super) payload: PayloadFormat,
    pub(super) clock: ScoreClock,
    pub(super) events: Arc<EventSource>,
    pub(super) memberships: Memberships,
    /// Group messages to mailboxes of this process, with the mailboxes.
    pub(super) echoes: PendingEchoes<(Message, Vec<ChannelName>)>,
    /// The order of group messages until they are queued on the links.
    pub(super) order: SendOrder,
    /// Notified when dropped mailboxes may have left groups.
    pub(super) changed: Notify,
    /// Notified when Redis may have lost a group.
    pub(super) suspicion: Notify,
    /// The part of this process's mailbox names between prefix and `!`.
    pub(super) client: String,
    pub(super) probes: PendingProbes,
    /// Indexed by host.
    pub(super) inboxes: Vec<HostInboxes>,
    /// The next host for a general channel. Relaxed: any order is fair.
    next_host: AtomicUsize,
}

/// The inboxes that this process reads on one host, by the part of the mailboxes' names up to the `!`.
#[derive(Debug, Default)]
pub(super) struct HostInboxes {
    /// Locked for single accesses.
    names: Mutex<Vec<String>>,
    /// Notifies the taker of a new inbox.
    pub(super) added: Notify,
}

impl CoreState {
    pub(super) fn new(config: Arc<RedisConfig>) -> Arc<Self> {
        // Not secret: names have a secret part after the `!`.
        let client = format!("{:032x}", fastrand::u128(..));
        let hosts = config.hosts.len();
        let state = Arc::new(Self {
            counters: stats::counters(),
            hub: Hub::new(),
            keys: CoreKeys::new(&config.prefix),
            payload: payload_format(&config),
            clock: ScoreClock::default(),
            events: Arc::new(EventSource::new(hosts)),
            memberships: Memberships::default(),
            echoes: PendingEchoes::default(),
            order: SendOrder::default(),
            changed: Notify::new(),
            suspicion: Notify::new(),
            probes: PendingProbes::new(&config.prefix, &client),
            inboxes: (0..hosts).map(|_| HostInboxes::default()).collect(),
            next_host: AtomicUsize::new(fastrand::usize(..hosts)),
            client,
            config,
        });
        state.hub.observe(Arc::new(EmptyGroupObserver(Arc::downgrade(&state))));
        state
    }

    /// The host for messages to this channel. For a mailbox, it depends only on the part of the name up to the `!`. General
    /// channels use the hosts in turn.
    pub(super) fn host_of(&self, channel: &ChannelName) -> usize {
        let hosts = self.inboxes.len();
        match channel.is_process_local() {
            true => shard_of(channel.non_local(), hosts),
            false => self.next_host.fetch_add(1, Relaxed) % hosts,
        }
    }

    /// Encodes a message to a channel. For a mailbox, the message contains the channel, as in Python.
    pub(super) fn encode(&self, channel: &ChannelName, message: &Message) -> Result<Vec<u8>> {
        let to = Value::from(channel.as_str());
        self.encode_with(message, channel.is_process_local().then_some(&to))
    }

    /// Encodes a message with its recipients.
    pub(super) fn encode_with(&self, message: &Message, to: Option<&Value>) -> Result<Vec<u8>> {
        let bytes = self.payload.encode(message, to.map(|to| (RESERVED_KEY, to)))?;
        let (length, limit) = (bytes.len(), self.config.hub.max_message);
        if length > limit {
            let reason = format!("it takes {length} bytes on the wire, and {limit} is the limit");
            return Err(Error::InvalidMessage(reason.into()));
        }
        Ok(bytes)
    }

    /// Whether the channel is one of this process's mailboxes, open or not.
    pub(super) fn is_ours(&self, channel: &ChannelName) -> bool {
        channel.non_local().strip_suffix('!').is_some_and(|head| head.ends_with(&self.client))
    }

    pub(super) fn capacity_of(&self, channel: &ChannelName) -> usize {
        self.config.hub.layer.capacity_of(channel).max(1)
    }

    pub(super) fn expiry_millis(&self) -> String {
        self.config.hub.layer.expiry.as_millis().to_string()
    }
}

impl HostInboxes {
    /// Adds an inbox. Returns whether it is new.
    pub(super) fn add(&self, non_local: &str) -> bool {
        let mut names = self.lock();
        let is_new = !names.iter().any(|known| known == non_local);
        if is_new {
            names.push(non_local.to_owned());
            self.added.notify_one();
        }
        is_new
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.names)
    }
}

/// Starts a reconciliation when a group has lost its last member in this process. Weak, because the hub owns it.
struct EmptyGroupObserver(Weak<CoreState>);

impl GroupObserver for EmptyGroupObserver {
    fn group_emptied(&self, _: &GroupName) {
        if let Some(state) = self.0.upgrade() {
            state.changed.notify_one();
        }
    }
}
