//! Mode `core`: the keys and messages of `channels_redis.core.RedisChannelLayer`.
//!
//! A message waits in a zset, one per process or general channel, ordered by the time at which it was sent; a
//! group is a zset of channels. What Python does in four steps is one script here: no other sender comes between
//! the check of the capacity and the message.
//!
//! Python's defects are not copied: direct sends go to the host where their receiver looks, expired messages are
//! not received, and nothing is kept for channels that nobody reads any more.

mod clock;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz_target;
mod groups;
mod handler;
mod hosts;
mod keys;
mod memberships;
mod named;
mod probes;
mod reconcile;
mod send;
mod send_order;
mod state;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use channel_layer::{
    Audience, Capabilities, ChannelLayer, ChannelName, Error, GroupDirectory, GroupName, Health, LayerEvents,
    Mailbox, MailboxOptions, Message, Remote, Result, SendReport,
    backbone::{BackboneStats, QueueReader, Shard},
    hub::Hub,
    mailbox::{Delivery, Refusal},
};
use futures_util::future::{join_all, select_all, try_join_all};
use tokio::{task::JoinHandle, time::Instant};

#[cfg(any(test, fuzzing))]
pub(crate) use self::state::payload_format;
use self::{
    handler::Handler,
    hosts::{Core, Host},
    state::Bus,
};
use crate::{config::RedisConfig, format::shard_of, link::RedisBackbone};

/// The layer of this mode.
pub(crate) struct CoreLayer {
    core: Arc<Core>,
    keeper: JoinHandle<()>,
    closed: AtomicBool,
}

impl CoreLayer {
    /// Connects, and waits for it.
    pub(crate) async fn open(config: RedisConfig) -> Result<Self> {
        let layer = Self::start(config);
        try_join_all(layer.shards().map(Shard::connected)).await?;
        layer.core.note_deletions().await;
        Ok(layer)
    }

    /// Connects in the background.
    pub(crate) fn start(config: RedisConfig) -> Self {
        let config = Arc::new(config);
        let (bus, options) = (Bus::new(config.clone()), config.hub.clone());
        let host = |(at, place): (usize, &crate::config::Place)| {
            let handler = Arc::new(Handler { bus: bus.clone(), at });
            let counters = bus.counters.clone();
            let backbone = RedisBackbone::new(
                place.clone(),
                config.clone(),
                counters.clone(),
                bus.client.clone(),
                handler.clone(),
            );
            let backbone = Arc::new(backbone);
            let shard = Shard::start(
                backbone.clone(),
                handler,
                options.clone(),
                counters.clone(),
                bus.events.clone(),
            );
            let reading = bus.clone();
            let reader =
                QueueReader::new(shard.links(), counters, &options, move |member| reading.read(member));
            Host { shard, backbone, reader }
        };
        let hosts: Vec<_> = config.places.iter().enumerate().map(host).collect();
        let deleted = Mutex::new(vec![None; hosts.len()]);
        let core = Arc::new(Core { bus: bus.clone(), hosts, deleted });
        let keeper = tokio::spawn(reconcile::keep(bus, Arc::downgrade(&core)));
        Self { core, keeper, closed: AtomicBool::new(false) }
    }

    pub(crate) fn stats(&self) -> BackboneStats {
        self.core.bus.counters.snapshot()
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.core.bus.hub
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.shards().all(Shard::is_up)
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.core.hosts.iter().map(|host| &host.shard)
    }

    fn enter(&self) -> Result<()> {
        if self.closed.load(Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    fn expires(&self) -> Instant {
        Instant::now() + self.core.bus.config.hub.layer.expiry
    }

    /// A name that hashes alike in full and up to its `!`: Python sends to the host of the one and receives from
    /// the host of the other.
    fn draw(&self, head: &str) -> Result<ChannelName> {
        let hosts = self.core.hosts.len();
        loop {
            let channel = ChannelName::random(head)?;
            if shard_of(channel.as_str(), hosts) == shard_of(channel.non_local(), hosts) {
                return Ok(channel);
            }
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for CoreLayer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_adds_foreign(true)
            .with_cross_process(true)
            .with_global_flush(true)
            .with_orders_calls(true)
            .with_reports_full(true)
            .with_shares_capacity(true)
            .with_shares_work(true)
            .with_stores_messages(true)
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.enter()?;
        let bus = &self.core.bus;
        let head = format!("{}.{}", options.prefix, bus.client);
        loop {
            let channel = self.draw(&head)?;
            let terms = bus.config.hub.layer.terms_of(&channel, &options);
            if let Some(mailbox) = bus.hub.open(channel, terms) {
                self.core.receive_for(mailbox.channel());
                return Ok(mailbox);
            }
        }
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.enter()?;
        if !self.core.bus.is_ours(channel) {
            return send::push(&self.core, channel, &message).await;
        }
        match self.core.bus.hub.send(channel, Delivery { message, expires: self.expires() }) {
            Some(Err(Refusal::Full)) => Err(Error::ChannelFull { channel: channel.to_string() }),
            _ => Ok(()), // a closed mailbox of this process
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.enter()?;
        if channel.is_process_local() {
            return Err(Error::ChannelOwned { channel: channel.to_string() });
        }
        // A message may come in on any host.
        let receive = self.core.hosts.iter().map(|host| Box::pin(host.reader.receive(channel)));
        select_all(receive).await.0.ok_or(Error::Closed)
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        match self.core.bus.is_ours(channel) {
            true => self.core.join(group, channel).await,
            false => Ok(self.core.add(group, channel).await?),
        }
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        match self.core.bus.is_ours(channel) {
            true => self.core.leave(group, channel).await,
            false => Ok(self.core.remove(group, channel).await?),
        }
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        if !self.core.bus.is_ours(channel) {
            return Ok(self.core.remove_from_all(channel).await?);
        }
        self.core.bus.hub.leave_groups_of(channel);
        let groups = self.core.bus.memberships.take(channel);
        join_all(groups.iter().map(|group| self.core.leave(group, channel))).await.into_iter().collect()
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.enter()?;
        if to.is_local_only() {
            let deliveries = self.core.bus.hub.broadcast(to, message, self.expires()).await;
            return Ok(SendReport::new(deliveries, Remote::None));
        }
        let local = send::fan_out(&self.core, to, &message).await?;
        Ok(SendReport::new(local, Remote::Unknown)) // Redis holds it for the others until they come for it
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        None // groups_of would have to read every group
    }

    fn events(&self) -> LayerEvents {
        self.core.bus.events.subscribe()
    }

    async fn health(&self) -> Result<Health> {
        self.enter()?;
        let trips = try_join_all(self.shards().map(Shard::round_trip)).await?;
        let hub = self.hub();
        let slowest = trips.into_iter().max().unwrap_or(Duration::ZERO);
        Ok(Health::new(slowest, hub.mailbox_count(), hub.group_count()))
    }

    async fn flush(&self) -> Result<()> {
        self.enter()?;
        // Before anything is dropped here.
        let connections: Vec<_> = self.core.hosts.iter().map(Host::connections).collect::<Result<_, _>>()?;
        let bus = &self.core.bus;
        bus.memberships.clear();
        bus.hub.leave_all();
        try_join_all(connections.iter().map(|host| host.clear(bus.keys.prefix()))).await?;
        self.core.hosts.iter().for_each(|host| host.reader.discard());
        bus.hub.discard_messages();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Relaxed) {
            return Ok(());
        }
        self.keeper.abort();
        self.core.leave_all().await;
        let limit = self.core.bus.config.hub.timeout * 4;
        join_all(self.core.hosts.iter().map(|host| host.reader.close(limit))).await;
        join_all(self.shards().map(Shard::close)).await;
        self.core.bus.hub.leave_all();
        self.core.bus.events.end();
        Ok(())
    }
}

impl Drop for CoreLayer {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Shows the state, and no address.
impl fmt::Debug for CoreLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreLayer")
            .field("client", &self.core.bus.client)
            .field("hosts", &self.core.hosts.len())
            .field("connected", &self.is_connected())
            .field("hub", self.hub())
            .finish()
    }
}
