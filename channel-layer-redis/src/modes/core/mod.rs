//! Mode `core`: the keys and messages of `channels_redis.core.RedisChannelLayer`.
//!
//! A message waits in a zset, one per process or general channel, ordered by the time at which it was sent; a
//! group is a zset of channels. What Python does in four steps is one script here: no other sender comes between
//! the check of the capacity and the message.
//!
//! Python's defects are not copied: direct sends go to the host where their receiver looks, expired messages are
//! not received, and nothing is kept for channels that nobody reads any more.

mod bus;
mod clock;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod groups;
mod keeper;
mod keys;
mod memberships;
mod reader;
mod send;
mod turns;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use channel_layer::{
    Audience, Capabilities, ChannelLayer, ChannelName, Error, GroupDirectory, GroupName, Health, LayerEvents,
    Mailbox, MailboxOptions, Message, Remote, Result, SendReport,
    hub::Hub,
    mailbox::{Delivery, Refusal},
};
use futures_util::future::{join_all, select_all, try_join_all};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use self::{
    bus::{Bus, Inbound},
    reader::Reader,
};
use crate::{
    config::RedisConfig,
    error::Fault,
    link::client::{Command, Reply},
    ring::host_of,
    stats::Stats,
    supervisor::Link,
};

/// The layer of this mode.
pub(crate) struct CoreLayer {
    bus: Arc<Bus>,
    /// One per host. Everything else knows them weakly, so that dropping the layer ends them.
    links: Arc<[Link]>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    keeper: JoinHandle<()>,
    closed: AtomicBool,
}

impl CoreLayer {
    /// Connects, and waits for it.
    pub(crate) async fn open(config: RedisConfig) -> Result<Self> {
        let layer = Self::start(config);
        try_join_all(layer.links.iter().map(Link::connected)).await?;
        layer.bus.note_deletions(&layer.links).await;
        Ok(layer)
    }

    /// Connects in the background.
    pub(crate) fn start(config: RedisConfig) -> Self {
        let config = Arc::new(config);
        let bus = Bus::new(config.clone());
        let link = |(at, place): (usize, &crate::config::Place)| {
            let mode = Arc::new(Inbound { bus: bus.clone(), at });
            Link::start(place.clone(), config.clone(), mode, bus.counters.clone())
        };
        let links: Arc<[Link]> = config.places.iter().enumerate().map(link).collect();
        let reader = |at| {
            let reader = Reader { bus: bus.clone(), links: Arc::downgrade(&links), at };
            tokio::spawn(reader.run())
        };
        let readers = Mutex::new((0..links.len()).map(reader).collect());
        let keeper = tokio::spawn(keeper::keep(Arc::downgrade(&bus), Arc::downgrade(&links)));
        Self { bus, links, readers, keeper, closed: AtomicBool::new(false) }
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
        if self.closed.load(Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    fn expires(&self) -> Instant {
        Instant::now() + self.bus.config.layer.expiry
    }

    /// A name that hashes alike in full and up to its `!`: Python sends to the host of the one and receives from
    /// the host of the other.
    fn draw(&self, head: &str) -> Result<ChannelName> {
        let hosts = self.links.len();
        loop {
            let channel = ChannelName::random(head)?;
            if host_of(channel.as_str(), hosts) == host_of(channel.non_local(), hosts) {
                return Ok(channel);
            }
        }
    }

    async fn clear(&self, link: &Link) -> Result<(), Fault> {
        let mut cursor = "0".to_owned();
        loop {
            let pattern = self.bus.keys.pattern();
            let scan = Command::new("SCAN").arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
            let reply = link.call(scan).await?;
            let (next, keys) = reply.read("SCAN", &self.bus.counters, Reply::page)?;
            if !keys.is_empty() {
                link.call(Command::new("UNLINK").arg(keys)).await?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn close_readers(&self) {
        self.bus.desks.iter().for_each(|desk| desk.close());
        let readers = std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner));
        for mut reader in readers {
            if timeout(self.bus.config.timeout * 4, &mut reader).await.is_err() {
                reader.abort();
            }
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for CoreLayer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_cross_process(true)
            .with_global_flush(true)
            .with_orders_calls(true)
            .with_reports_full(true)
            .with_shares_capacity(true)
            .with_stores_messages(true)
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.enter()?;
        let head = format!("{}.{}", options.prefix, self.bus.client);
        loop {
            let channel = self.draw(&head)?;
            let terms = self.bus.config.layer.terms_of(&channel, &options);
            if let Some(mailbox) = self.bus.hub.open(channel, terms) {
                self.bus.receive_for(mailbox.channel().non_local());
                return Ok(mailbox);
            }
        }
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.enter()?;
        if !self.bus.is_ours(channel) {
            return send::push(&self.bus, &self.links, channel, &message).await;
        }
        match self.bus.hub.send(channel, Delivery { message, expires: self.expires() }) {
            Some(Err(Refusal::Full)) => Err(Error::ChannelFull { channel: channel.to_string() }),
            _ => Ok(()), // a closed mailbox of ours is fine
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.enter()?;
        if channel.is_process_local() {
            return Err(Error::ChannelOwned { channel: channel.to_string() });
        }
        // A message may come in on any host.
        let desks = self.bus.desks.iter().map(|desk| Box::pin(desk.receive(channel)));
        select_all(desks).await.0.ok_or(Error::Closed)
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        if !self.bus.is_ours(channel) {
            return Ok(groups::add(&self.bus, &self.links, group, channel).await?);
        }
        groups::join(&self.bus, &self.links, group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        if !self.bus.is_ours(channel) {
            return Ok(groups::remove(&self.bus, &self.links, group, channel).await?);
        }
        groups::leave(&self.bus, &self.links, group, channel).await
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        self.bus.hub.leave_groups_of(channel);
        let groups = self.bus.memberships.take(channel);
        let leave = groups.iter().map(|group| groups::leave(&self.bus, &self.links, group, channel));
        join_all(leave).await.into_iter().collect()
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.enter()?;
        if to.is_local_only() {
            let deliveries = self.bus.hub.broadcast(to, message, self.expires()).await;
            return Ok(SendReport::new(deliveries, Remote::None));
        }
        let local = send::fan_out(&self.bus, &self.links, to, &message).await?;
        Ok(SendReport::new(local, Remote::Unknown)) // Redis holds it for the others until they come for it
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        None // groups_of would have to read every group
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

    async fn flush(&self) -> Result<()> {
        self.enter()?;
        if let Some(link) = self.links.iter().find(|link| !link.is_up()) {
            return Err(link.away().into()); // before anything is dropped here
        }
        self.bus.memberships.clear();
        self.bus.hub.leave_all();
        try_join_all(self.links.iter().map(|link| self.clear(link))).await?;
        self.bus.desks.iter().for_each(|desk| desk.discard());
        self.bus.hub.discard_messages();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Relaxed) {
            return Ok(());
        }
        self.keeper.abort();
        groups::leave_all(&self.bus, &self.links).await;
        self.close_readers().await;
        join_all(self.links.iter().map(Link::close)).await;
        self.bus.hub.leave_all();
        self.bus.events.end();
        Ok(())
    }
}

impl Drop for CoreLayer {
    fn drop(&mut self) {
        self.keeper.abort();
        self.bus.desks.iter().for_each(|desk| desk.close());
        let readers = self.readers.get_mut().unwrap_or_else(PoisonError::into_inner);
        readers.iter().for_each(JoinHandle::abort);
    }
}

/// Shows where it stands, and no address.
impl fmt::Debug for CoreLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreLayer")
            .field("client", &self.bus.client)
            .field("hosts", &self.links.len())
            .field("connected", &self.is_connected())
            .field("hub", &self.bus.hub)
            .finish()
    }
}
