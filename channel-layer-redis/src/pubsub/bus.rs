//! What the layer and its links share, and what is done with what comes in.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use channel_layer::{
    Audience, ChannelName, Deliveries, GroupName, LayerEvent, Map, Message,
    hub::{GroupObserver, Hub},
    mailbox::Delivery,
};
use tokio::{sync::watch, time::Instant};

use super::{
    directions::{self, Seen},
    named::Named,
    names::{Names, Place},
};
use crate::{
    codec::CodecError,
    config::RedisConfig,
    own::Own,
    payload::Payload,
    ring::host_of,
    shared::{Events, Probes},
    stats::Counters,
    supervisor::{Link, Mode, Probe},
};

#[derive(Debug)]
pub(super) struct Bus {
    pub(super) config: Arc<RedisConfig>,
    pub(super) counters: Arc<Counters>,
    pub(super) hub: Hub,
    pub(super) names: Names,
    pub(super) payload: Payload,
    pub(super) events: Events,
    pub(super) named: Named,
    pub(super) own: Own<Message>,
    pub(super) closed: watch::Sender<bool>,
    node: String,
    probes: Probes,
    /// Held for a set access, by the connections' tasks: several links, one memory.
    seen: Mutex<Seen>,
    /// The links own the bus, so it knows them weakly. Set once, before the first message can come in.
    links: OnceLock<Weak<[Link]>>,
}

impl Bus {
    pub(super) fn new(config: Arc<RedisConfig>) -> Arc<Self> {
        let node = format!("{:016x}", fastrand::u64(..));
        let bus = Arc::new(Self {
            counters: Arc::default(),
            hub: Hub::new(),
            names: Names::new(&config.prefix),
            payload: Payload::of_pubsub(&config),
            events: Events::default(),
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

    fn emptied(&self, channel: &str) {
        if let Some(links) = self.links.get().and_then(Weak::upgrade) {
            link_of(&links, channel).emptied(channel);
        }
    }

    fn read(&self, channel: &[u8], payload: &[u8]) -> Result<(), CodecError> {
        let channel = std::str::from_utf8(channel).map_err(|_| CodecError::Broken)?;
        match self.names.place(channel).ok_or(CodecError::Broken)? {
            Place::Channel(name) => {
                let (message, _) = self.decode(payload)?;
                let outcome = self.hub.send(&name, Delivery { message, expires: self.expires() });
                self.counters.full.add(u64::from(matches!(outcome, Some(Err(_)))));
                Ok(())
            }
            Place::Group(group) => self.fan_out(group, channel, payload),
        }
    }

    fn fan_out(&self, group: GroupName, channel: &str, payload: &[u8]) -> Result<(), CodecError> {
        if let Some((message, back)) = self.own.take(channel.as_bytes(), payload) {
            let _ = back.send(self.hand_out(&group.into(), message)); // its sender may have gone
            return Ok(());
        }
        let (message, entry) = self.decode(payload)?;
        let (audience, id) = directions::read(entry.as_ref(), group);
        let is_first = |id| self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_first(id);
        if id.is_none_or(is_first) {
            self.hand_out(&audience, message);
        }
        Ok(())
    }

    fn decode(&self, payload: &[u8]) -> Result<(Message, Option<channel_layer::Value>), CodecError> {
        if payload.len() > self.config.max_message {
            return Err(CodecError::TooLong);
        }
        let mut map: Map = self.payload.decode(payload)?;
        let entry = map.remove(directions::KEY);
        Ok((Message::try_from(map).map_err(|_| CodecError::Message)?, entry))
    }

    fn hand_out(&self, to: &Audience, message: Message) -> Deliveries {
        let deliveries = self.hub.fan_out(to, message, self.expires()).finish();
        self.counters.full.add(deliveries.full as u64);
        deliveries
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

/// What a link carries in this mode.
#[derive(Debug)]
pub(super) struct Inbound(pub(super) Arc<Bus>);

impl Mode for Inbound {
    fn node(&self) -> &str {
        &self.0.node
    }

    fn own_channels(&self) -> Vec<String> {
        vec![self.0.probes.channel().to_owned()]
    }

    fn is_empty(&self, channel: &str) -> bool {
        match self.0.names.place(channel) {
            Some(Place::Channel(name)) => !self.0.hub.contains(&name),
            Some(Place::Group(group)) => self.0.hub.member_count(&group) == 0,
            None => true,
        }
    }

    fn begins(&self, _: &str) {}

    fn raise(&self, event: LayerEvent) {
        self.0.events.raise(event);
    }

    fn probe(&self) -> Probe {
        self.0.probes.probe()
    }

    fn received(&self, channel: &[u8], payload: &[u8]) {
        if self.0.probes.received(channel, payload) {
            return;
        }
        self.0.counters.received.one();
        if let Err(error) = self.0.read(channel, payload) {
            self.0.counters.unreadable.one();
            tracing::debug!(%error, bytes = payload.len(), "dropped what came in");
        }
    }
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
