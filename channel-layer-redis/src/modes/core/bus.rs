//! What the layer, its links, its readers and the keeper of its groups share.

use std::sync::{
    Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use channel_layer::{
    ChannelName, EventSource, GroupName, Message, RESERVED_KEY, Result, Value,
    hub::{GroupObserver, Hub},
};
use tokio::sync::Notify;

use super::{clock::Clock, groups, keys::Keys, memberships::Memberships, reader::Kept, turns::Turns};
use crate::{
    config::RedisConfig,
    error::Fault,
    link::client::{Command, Reply, Script},
    native::named::Desk,
    own::Own,
    payload::Payload,
    ring::host_of,
    shared::Probes,
    stats::{self, Counters},
    supervisor::{Link, Mode, Probe, Restoration},
};

static NEEDED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("needed.lua")));

#[derive(Debug)]
pub(super) struct Bus {
    pub(super) config: Arc<RedisConfig>,
    pub(super) counters: Arc<Counters>,
    pub(super) hub: Hub,
    pub(super) keys: Keys,
    pub(super) payload: Payload,
    pub(super) clock: Clock,
    pub(super) events: EventSource,
    pub(super) memberships: Memberships,
    /// Group messages to our own mailboxes, and which.
    pub(super) own: Own<(Message, Vec<ChannelName>)>,
    /// Group messages that have not been handed to the links yet.
    pub(super) turns: Turns,
    /// Some group may have lost members by mailboxes that were dropped.
    pub(super) changed: Notify,
    /// Notified when Redis may have lost a group.
    pub(super) suspicion: Notify,
    /// The deletion counters of each host at the time when it was last known to hold all wanted memberships.
    /// `None` for a host that does not report them. Locked for single accesses only.
    pub(super) deleted: Mutex<Vec<Option<String>>>,
    /// The part of this process's mailbox names between the prefix and the `!`.
    pub(super) client: String,
    /// The waiting receivers, per host.
    pub(super) desks: Vec<Desk<Kept>>,
    /// One per host: the beginnings of mailboxes' names, up to the `!`. Held for a look.
    inboxes: Vec<Mutex<Vec<String>>>,
    probes: Probes,
    /// Where the next message for a general channel goes. Relaxed: any order is fair.
    turn: AtomicUsize,
}

impl Bus {
    pub(super) fn new(config: Arc<RedisConfig>) -> Arc<Self> {
        // Names carry their own secret behind the `!`: this only has to differ.
        let client = format!("{:032x}", fastrand::u128(..));
        let hosts = config.places.len();
        let bus = Arc::new(Self {
            counters: stats::counters(),
            hub: Hub::new(),
            keys: Keys::new(&config.prefix),
            payload: Payload::of_core(&config),
            clock: Clock::default(),
            events: EventSource::new(config.places.len()),
            memberships: Memberships::default(),
            own: Own::default(),
            turns: Turns::default(),
            changed: Notify::new(),
            suspicion: Notify::new(),
            deleted: Mutex::new(vec![None; hosts]),
            desks: (0..hosts).map(|_| Desk::default()).collect(),
            inboxes: (0..hosts).map(|_| Mutex::default()).collect(),
            probes: Probes::new(&config.prefix, &client),
            turn: AtomicUsize::new(fastrand::usize(..hosts)),
            client,
            config,
        });
        bus.hub.observe(Arc::new(Observer(Arc::downgrade(&bus))));
        bus
    }

    /// The host where messages for this channel wait. Its process receives there whatever follows the `!`; those
    /// for general channels go to each host in turn.
    pub(super) fn host_of(&self, channel: &ChannelName) -> usize {
        let hosts = self.desks.len();
        match channel.is_process_local() {
            true => host_of(channel.non_local(), hosts),
            false => self.turn.fetch_add(1, Relaxed) % hosts,
        }
    }

    /// A message with its channel, where Python needs it to find the consumer.
    pub(super) fn encode(&self, channel: &ChannelName, message: &Message) -> Result<Vec<u8>> {
        let to = Value::from(channel.as_str());
        let extra = channel.is_process_local().then_some((RESERVED_KEY, &to));
        let bytes = self.payload.encode(message, extra)?;
        crate::shared::check_size(&self.config, bytes.len())?;
        Ok(bytes)
    }

    /// Is the channel one of this process's mailboxes, open or not?
    pub(super) fn is_ours(&self, channel: &ChannelName) -> bool {
        channel.non_local().strip_suffix('!').is_some_and(|head| head.ends_with(&self.client))
    }

    /// Receives what comes in for mailboxes whose names begin so, from now on.
    pub(super) fn receive_for(&self, non_local: &str) {
        let at = host_of(non_local, self.desks.len());
        let mut inboxes = self.inboxes(at);
        if inboxes.iter().any(|known| known == non_local) {
            return;
        }
        inboxes.push(non_local.to_owned());
        drop(inboxes);
        self.desks[at].changed.notify_one();
    }

    pub(super) fn inboxes(&self, at: usize) -> MutexGuard<'_, Vec<String>> {
        self.inboxes[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn capacity_of(&self, channel: &ChannelName) -> String {
        self.config.layer.capacity_of(channel).max(1).to_string()
    }

    pub(super) fn expiry_millis(&self) -> String {
        self.config.layer.expiry.as_millis().to_string()
    }
}

/// Runs a script, by its text if the server does not know it yet.
pub(super) async fn run(
    link: &Link,
    script: &Script,
    keys: &[String],
    arguments: &[&[u8]],
) -> Result<Reply, Fault> {
    let reply = link.call(script.by_hash(keys, arguments)).await;
    match reply {
        // Nothing was done, so it is safe to say it again.
        Err(Fault::Refused { code, .. }) if code == "NOSCRIPT" => {
            link.call(script.by_text(keys, arguments)).await
        }
        reply => reply,
    }
}

/// The number that a script answers.
pub(super) fn number(bus: &Bus, reply: &Reply) -> Result<i64> {
    Ok(reply.read("a script", &bus.counters, Reply::integer)?)
}

/// What a link carries in this mode: nothing but its own probes. Messages are taken by the readers.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) bus: Arc<Bus>,
    /// The index of the host.
    pub(super) at: usize,
}

impl Mode for Inbound {
    fn node(&self) -> &str {
        &self.bus.client
    }

    fn own_channels(&self) -> Vec<String> {
        vec![self.bus.probes.channel().to_owned()]
    }

    fn is_empty(&self, _: &str) -> bool {
        true
    }

    fn begins(&self, _: &str) {}

    fn events(&self) -> &EventSource {
        &self.bus.events
    }

    fn restore(&self, all: bool) -> Option<Restoration> {
        let (bus, hosts) = (self.bus.clone(), self.bus.desks.len());
        let is_here = |group: &GroupName| host_of(group.as_str(), hosts) == self.at;
        if all {
            bus.memberships.end_dead(&bus.hub);
            bus.memberships.want_all(is_here);
        }
        let (wanted, leaving) = (bus.memberships.wanted(is_here), bus.memberships.leaving(is_here));
        if wanted.is_empty() && leaving.is_empty() {
            return None;
        }
        let commands = groups::commands(&bus, &wanted, &leaving);
        let done = Box::new(move || {
            bus.memberships.left(&leaving);
            bus.memberships.written(&wanted);
        });
        Some(Restoration { commands, done })
    }

    /// Returns the commands of this mode, on a key that does not exist.
    fn needed(&self) -> Vec<(&'static str, Command)> {
        let key = self.bus.keys.messages(&self.bus.client);
        let on = |name: &'static str, arguments: &[&str]| (name, Command::new(name).arg(&key).arg(arguments));
        let script = |make: fn(&Script, &[String], &[&[u8]]) -> Command| {
            make(&NEEDED, std::slice::from_ref(&key), &[])
        };
        vec![
            on("ZADD", &["XX", "0", "x"]),
            on("ZREM", &["x"]),
            on("PEXPIRE", &["1"]),
            on("ZPOPMIN", &["1"]),
            on("BZPOPMIN", &["0.001"]),
            ("EVAL (with ZCARD, ZRANGE, ZREMRANGEBYSCORE, ZSCORE and PTTL)", script(Script::by_text)),
            ("EVALSHA", script(Script::by_hash)),
        ]
    }

    fn is_sequenced(&self) -> bool {
        false
    }

    fn probe(&self) -> Probe {
        self.bus.probes.probe()
    }

    fn received(&self, channel: &[u8], payload: &[u8]) {
        self.bus.probes.received(channel, payload);
    }
}

/// Looks after memberships as soon as a group has lost its last member here.
struct Observer(Weak<Bus>);

impl GroupObserver for Observer {
    fn group_emptied(&self, _: &GroupName) {
        if let Some(bus) = self.0.upgrade() {
            bus.changed.notify_one();
        }
    }
}
