//! Mode `pubsub`: the channels and messages of `channels_redis.pubsub.RedisPubSubChannelLayer`.
//!
//! The engine is the native mode's: one subscription per process and group, fan-out within the process. Django's
//! format has one subscription per mailbox besides, and no room for an expiry, a number or a sender.

mod bus;
mod directions;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inbound;
mod named;
mod names;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use channel_layer::{
    Audience, Capabilities, ChannelLayer, ChannelName, Deliveries, Error, GroupDirectory, GroupName, Health,
    LayerEvents, Mailbox, MailboxOptions, Message, Remote, Result, SendReport,
    hub::Hub,
    mailbox::{Delivery, Refusal},
};
use futures_util::future::{join_all, try_join_all};

use self::{
    bus::{Bus, link_of, own_group},
    inbound::Inbound,
};
use crate::{config::RedisConfig, error::Fault, shared::check_size, stats::Stats, supervisor::Link};

/// The layer of this mode.
pub(crate) struct PubSubLayer {
    bus: Arc<Bus>,
    /// One per host. Everything else knows them weakly, so that dropping the layer ends them.
    links: Arc<[Link]>,
}

impl PubSubLayer {
    /// Connects, and waits for it.
    pub(crate) async fn open(config: RedisConfig) -> Result<Self> {
        let layer = Self::start(config);
        try_join_all(layer.links.iter().map(Link::connected)).await?;
        Ok(layer)
    }

    /// Connects in the background.
    pub(crate) fn start(config: RedisConfig) -> Self {
        let config = Arc::new(config);
        let bus = Bus::new(config.clone());
        let link = |place: &crate::config::Place| {
            Link::start(
                place.clone(),
                config.clone(),
                Arc::new(Inbound::new(bus.clone())),
                bus.counters.clone(),
            )
        };
        let links: Arc<[Link]> = config.places.iter().map(link).collect();
        bus.set_links(&links);
        Self { bus, links }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.bus.counters.snapshot()
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.bus.hub
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.links.iter().all(Link::is_up)
    }

    fn enter(&self) -> Result<()> {
        if *self.bus.closed.borrow() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Subscribes to a channel, and waits until the server has confirmed it.
    async fn subscribe(&self, channel: &str) -> Result<()> {
        Ok(link_of(&self.links, channel).join(channel, || true).await?)
    }

    /// Says how many processes took it.
    async fn publish(&self, channel: &str, payload: Vec<u8>) -> Result<usize, Fault> {
        let reached = link_of(&self.links, channel).publish(channel.to_owned(), payload).await?;
        Ok(usize::try_from(reached).unwrap_or(usize::MAX))
    }

    fn encode(&self, message: &Message, to: Option<&Audience>) -> Result<Vec<u8>> {
        let entry = to.map(directions::write).transpose()?.flatten();
        let extra = entry.as_ref().map(|entry| (directions::KEY, entry));
        let payload = self.bus.payload.encode(message, extra)?;
        check_size(&self.bus.config, payload.len())?;
        Ok(payload)
    }

    /// The plain case: the bytes are those that Django would send, and come back as they are.
    async fn send_to_group(&self, group: &GroupName, message: Message) -> Result<SendReport> {
        let payload = self.encode(&message, None)?;
        let place = self.bus.names.group(group);
        let is_subscribed = link_of(&self.links, &place).is_subscribed(&place);
        let has_members = is_subscribed && self.bus.hub.member_count(group) > 0;
        let back = has_members.then(|| self.bus.own.expect(&place, &payload, message));
        let reached = self.publish(&place, payload).await?;
        let local = match back {
            Some(back) => back.wait(self.bus.config.timeout).await.unwrap_or_default(),
            None => Deliveries::default(),
        };
        let others = reached.saturating_sub(usize::from(is_subscribed));
        Ok(SendReport::new(local, Remote::Processes(others)))
    }

    async fn send_to_audience(&self, to: &Audience, message: &Message) -> Result<SendReport> {
        let payload = self.encode(message, Some(to))?;
        let mut places: Vec<_> = to.groups().map(|group| self.bus.names.group(group)).collect();
        places.sort_unstable();
        places.dedup();
        let publish = places.iter().map(|place| self.publish(place, payload.clone()));
        Fault::of_parts(join_all(publish).await)?;
        Ok(SendReport::new(Deliveries::default(), Remote::Unknown))
    }

    /// Ends memberships, and lets the mailboxes keep their own subscriptions.
    fn leave_groups_of(&self, channel: &ChannelName) {
        self.bus.hub.leave_groups_of(channel);
        if let Some(own) = own_group(channel) {
            self.bus.hub.join(&own, channel);
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for PubSubLayer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_cross_process(true).with_orders_calls(true)
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.enter()?;
        loop {
            let channel = self.bus.names.draw(&options.prefix)?;
            let terms = self.bus.config.layer.terms_of(&channel, &options);
            let Some(mailbox) = self.bus.hub.open(channel, terms) else { continue };
            self.subscribe(mailbox.channel().as_str()).await?;
            if let Some(own) = own_group(mailbox.channel()) {
                self.bus.hub.join(&own, mailbox.channel());
            }
            return Ok(mailbox);
        }
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.enter()?;
        let is_mailbox = self.bus.hub.contains(channel) && !self.bus.named.contains(channel);
        if !is_mailbox {
            let payload = self.encode(&message, None)?;
            self.publish(channel.as_str(), payload).await?;
            return Ok(());
        }
        match self.bus.hub.send(channel, Delivery { message, expires: self.bus.expires() }) {
            Some(Err(Refusal::Full)) => Err(Error::ChannelFull { channel: channel.to_string() }),
            _ => Ok(()),
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.enter()?;
        let bounds = self.bus.config.layer.bounds_of(channel);
        let owned = || Error::ChannelOwned { channel: channel.to_string() };
        let (receiver, is_new) = self.bus.named.enter(&self.bus.hub, channel, bounds).ok_or_else(owned)?;
        if is_new {
            if let Some(own) = own_group(channel) {
                self.bus.hub.join(&own, channel);
            }
            let (bus, channel, linger) = (self.bus.clone(), channel.clone(), self.bus.config.linger);
            tokio::spawn(async move {
                let mut closed = bus.closed.subscribe();
                tokio::select! {
                    () = bus.named.retire(&channel, linger) => {}
                    _ = closed.wait_for(|closed| *closed) => {}
                }
            });
        }
        self.subscribe(channel.as_str()).await?;
        let mut closed = self.bus.closed.subscribe();
        tokio::select! {
            message = receiver.recv() => Ok(message),
            _ = closed.wait_for(|closed| *closed) => Err(Error::Closed),
        }
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        if !self.bus.hub.contains(channel) {
            // As in Python: nobody can tell the process that holds it.
            return Err(Error::Unsupported("adding a channel of another process to a group in mode pubsub"));
        }
        let place = self.bus.names.group(group);
        let join = || self.bus.hub.join(group, channel);
        Ok(link_of(&self.links, &place).join(&place, join).await?)
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        self.bus.hub.leave(group, channel);
        Ok(())
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        self.leave_groups_of(channel);
        Ok(())
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.enter()?;
        if to.is_local_only() {
            let deliveries = self.bus.hub.broadcast(to, message, self.bus.expires()).await;
            return Ok(SendReport::new(deliveries, Remote::None));
        }
        match to.groups().next() {
            Some(group) if !to.is_union() && to.excepted().is_none() => {
                self.send_to_group(group, message).await
            }
            _ => self.send_to_audience(to, &message).await,
        }
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        None // each process knows its own members only
    }

    fn events(&self) -> LayerEvents {
        self.bus.events.subscribe()
    }

    async fn health(&self) -> Result<Health> {
        self.enter()?;
        let trips = try_join_all(self.links.iter().map(Link::round_trip)).await?;
        let slowest = trips.into_iter().max().unwrap_or(Duration::ZERO);
        Ok(Health::new(slowest, self.bus.hub.mailbox_count(), self.bus.hub.group_count()))
    }

    /// In this process alone: Redis holds nothing in this mode.
    async fn flush(&self) -> Result<()> {
        self.enter()?;
        let channels: Vec<_> =
            self.bus.hub.groups().into_iter().flat_map(|group| self.bus.hub.members(&group)).collect();
        channels.iter().for_each(|channel| self.leave_groups_of(channel));
        self.bus.hub.discard_messages();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        if self.bus.closed.send_replace(true) {
            return Ok(());
        }
        join_all(self.links.iter().map(Link::close)).await;
        self.bus.hub.leave_all();
        self.bus.events.end();
        Ok(())
    }
}

impl Drop for PubSubLayer {
    fn drop(&mut self) {
        self.bus.closed.send_replace(true);
    }
}

/// Shows where it stands, and no address.
impl fmt::Debug for PubSubLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubLayer")
            .field("hosts", &self.links.len())
            .field("connected", &self.is_connected())
            .field("hub", &self.bus.hub)
            .finish()
    }
}
