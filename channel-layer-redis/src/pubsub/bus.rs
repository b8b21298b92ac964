//! What the layer and its links share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use channel_layer::{
    ChannelName, EventSource, GroupName, Message,
    hub::{GroupObserver, Hub},
};
use tokio::{sync::watch, time::Instant};

use super::{directions::Seen, named::Named, names::Names};
use crate::{
    config::RedisConfig,
    own::Own,
    payload::Payload,
    ring::host_of,
    shared::Probes,
    stats::{self, Counters},
    supervisor::Link,
};

#[derive(Debug)]
pub(super) struct Bus {
    pub(super) config: Arc<RedisConfig>,
    pub(super) counters: Arc<Counters>,
    pub(super) hub: Hub,
    pub(super) names: Names,
    pub(super) payload: Payload,
    pub(super) events: EventSource,
    pub(super) named: Named,
    pub(super) own: Own<Message>,
    pub(super) closed: watch::Sender<bool>,
    pub(super) node: String,
    pub(super) probes: Probes,
    /// Held for a set access, by the connections' tasks: several links, one memory.
    seen: Mutex<Seen>,
    /// The links own the bus, so it knows them weakly. Set once, before the first message can come in.
    links: OnceLock<Weak<[Link]>>,
}

impl Bus {
    pub(super) fn new(config: Arc<RedisConfig>) -> Arc<Self> {
        let node = format!("{:016x}", fastrand::u64(..));
        let bus = Arc::new(Self {
            counters: stats::counters(),
            hub: Hub::new(),
            names: Names::new(&config.prefix),
            payload: Payload::of_pubsub(&config),
            events: EventSource::new(config.places.len()),
            named: Named::default(),
            own: Own::default(),
            closed: watch::Sender::new(false),
            probes: Probes::new(&config.prefix, &node),
            seen: Mutex::default(),
            links: OnceLock::new(),
            node,
            config,
        });
        bus.hub.observe(Arc::new(Observer(Arc::downgrade(&bus))));
        bus
    }

    pub(super) fn set_links(&self, links: &Arc<[Link]>) {
        self.links.set(Arc::downgrade(links)).expect("a layer sets its links once");
    }

    pub(super) fn expires(&self) -> Instant {
        Instant::now() + self.config.layer.expiry
    }

    /// Is it the first copy of a message to several groups?
    pub(super) fn is_first(&self, id: String) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_first(id)
    }

    fn emptied(&self, channel: &str) {
        if let Some(links) = self.links.get().and_then(Weak::upgrade) {
            link_of(&links, channel).emptied(channel);
        }
    }
}

/// The link that a Redis channel belongs to.
pub(super) fn link_of<'a>(links: &'a [Link], channel: &str) -> &'a Link {
    &links[host_of(channel, links.len())]
}

/// A mailbox is in a group of its own name, so that its end is told like that of a group.
pub(super) fn own_group(channel: &ChannelName) -> Option<GroupName> {
    channel.as_str().parse().ok()
}

/// Ends subscriptions with their groups and mailboxes. The hub owns it, so it owns nothing.
struct Observer(Weak<Bus>);

impl GroupObserver for Observer {
    fn group_emptied(&self, group: &GroupName) {
        let Some(bus) = self.0.upgrade() else { return };
        bus.emptied(&bus.names.group(group));
        bus.emptied(group.as_str()); // in case it is a mailbox's
    }
}
