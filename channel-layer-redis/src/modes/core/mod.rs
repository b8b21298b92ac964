//! Mode `core`: the keys and messages of `channels_redis.core.RedisChannelLayer`.
//!
//! Messages wait in sorted sets, one per process or general channel, ordered by the time at which they were sent. A group is
//! a sorted set of channels. Four steps of Python are one script here, so that no other sender intervenes between the check
//! of the capacity and the message.
//!
//! Python's defects are not copied: direct sends go to the host from which the receiver reads, expired messages are not
//! received, and keys of abandoned channels expire.

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
    Mailbox, MailboxOptions, Message, Remote, Result, Selection, SendReport,
    backbone::{BackboneStats, QueueReader, Shard},
    hub::Hub,
    mailbox::{Delivery, Refusal},
};
use futures_util::future::{join_all, select_all, try_join_all};
use tokio::{task::JoinHandle, time::Instant};

#[cfg(any(test, fuzzing))]
pub(crate) use self::state::payload_format;
use self::{
    handler::CoreMode,
    hosts::{CoreInner, Host},
    state::CoreState,
};
use crate::{
    config::{HostConfig, RedisConfig},
    format::shard_of,
    link::RedisBackbone,
};

/// The layer of this mode.
pub(crate) struct CoreLayer {
    inner: Arc<CoreInner>,
    reconciler: JoinHandle<()>,
    closed: AtomicBool,
}

impl CoreLayer {
    /// Connects, and waits for the connections.
    pub(crate) async fn open(config: RedisConfig) -> Result<Self> {
        let layer = Self::start(config);
        try_join_all(layer.shards().map(Shard::connected)).await?;
        layer.inner.record_deletions().await;
        Ok(layer)
    }

    /// Connects in the background.
    pub(crate) fn start(config: RedisConfig) -> Self {
        let config = Arc::new(config);
        let (state, options) = (CoreState::new(config.clone()), config.hub.clone());
        let host = |(at, host): (usize, &HostConfig)| {
            let handler = Arc::new(CoreMode { state: state.clone(), at });
            let counters = state.counters.clone();
            let backbone = RedisBackbone::new(
                host.clone(),
                config.clone(),
                counters.clone(),
                state.client.clone(),
                handler.clone(),
            );
            let backbone = Arc::new(backbone);
            let shard = Shard::start(
                backbone.clone(),
                handler,
                options.clone(),
                counters.clone(),
                state.events.clone(),
            );
            let reading = state.clone();
            let reader =
                QueueReader::new(shard.links(), counters, &options, move |member| reading.read(member));
            Host { shard, backbone, reader }
        };
        let hosts: Vec<_> = config.hosts.iter().enumerate().map(host).collect();
        let deletions = Mutex::new(vec![None; hosts.len()]);
        let inner = Arc::new(CoreInner { state: state.clone(), hosts, deletions });
        let reconciler = tokio::spawn(reconcile::run(state, Arc::downgrade(&inner)));
        Self { inner, reconciler, closed: AtomicBool::new(false) }
    }

    pub(crate) fn stats(&self) -> BackboneStats {
        self.inner.state.counters.snapshot()
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.inner.state.hub
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.shards().all(Shard::is_up)
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.inner.hosts.iter().map(|host| &host.shard)
    }

    fn enter(&self) -> Result<()> {
        if self.closed.load(Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    fn expires(&self) -> Instant {
        Instant::now() + self.inner.state.config.hub.layer.expiry
    }

    /// A random name whose whole and whose part up to the `!` belong to one host: Python sends to the host of the whole name
    /// and receives from the host of the part.
    fn random_name(&self, head: &str) -> Result<ChannelName> {
        let hosts = self.inner.hosts.len();
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
        let state = &self.inner.state;
        let head = format!("{}.{}", options.prefix, state.client);
        loop {
            let channel = self.random_name(&head)?;
            let limits = state.config.hub.layer.limits_of(&channel, &options);
            if let Some(mailbox) = state.hub.open(channel, limits) {
                self.inner.receive_for(mailbox.channel());
                return Ok(mailbox);
            }
        }
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.enter()?;
        if !self.inner.state.is_ours(channel) {
            return send::push(&self.inner, channel, &message).await;
        }
        match self.inner.state.hub.send(channel, Delivery { message, expires: self.expires() }) {
            Some(Err(Refusal::Full)) => Err(Error::ChannelFull { channel: channel.to_string() }),
            _ => Ok(()), // the mailbox of this process is closed
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.enter()?;
        if channel.is_process_local() {
            return Err(Error::ChannelOwned { channel: channel.to_string() });
        }
        // A message may arrive on any host.
        let receive = self.inner.hosts.iter().map(|host| Box::pin(host.reader.receive(channel)));
        select_all(receive).await.0.ok_or(Error::Closed)
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        match self.inner.state.is_ours(channel) {
            true => self.inner.join(group, channel).await,
            false => Ok(self.inner.add(group, channel).await?),
        }
    }

    /// Selects nothing: a message from Python names the channels of this process that it is for, and not their groups.
    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: Selection,
    ) -> Result<()> {
        match selection {
            Selection::All => self.group_add(group, channel).await,
            _ => Err(Error::Unsupported("selections of messages in the mode `core`")),
        }
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        match self.inner.state.is_ours(channel) {
            true => self.inner.leave(group, channel).await,
            false => Ok(self.inner.remove(group, channel).await?),
        }
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        if !self.inner.state.is_ours(channel) {
            return Ok(self.inner.remove_from_all(channel).await?);
        }
        self.inner.state.hub.leave_groups_of(channel);
        let groups = self.inner.state.memberships.take(channel);
        join_all(groups.iter().map(|group| self.inner.leave(group, channel))).await.into_iter().collect()
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.enter()?;
        if to.is_local_only() {
            let deliveries = self.inner.state.hub.broadcast(to, message, self.expires()).await;
            return Ok(SendReport::new(deliveries, Remote::None));
        }
        let local = send::fan_out(&self.inner, to, &message).await?;
        Ok(SendReport::new(local, Remote::Unknown)) // Redis keeps it until other processes take it
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        None // `groups_of` would have to read every group
    }

    fn events(&self) -> LayerEvents {
        self.inner.state.events.subscribe()
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
        // First, so that an outage fails before any local state is dropped.
        let commands: Vec<_> = self.inner.hosts.iter().map(Host::commands).collect::<Result<_, _>>()?;
        let state = &self.inner.state;
        state.memberships.clear();
        state.hub.leave_all();
        try_join_all(commands.iter().map(|host| host.clear(state.keys.prefix()))).await?;
        self.inner.hosts.iter().for_each(|host| host.reader.discard());
        state.hub.discard_messages();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Relaxed) {
            return Ok(());
        }
        self.reconciler.abort();
        self.inner.leave_all().await;
        let limit = self.inner.state.config.hub.timeout * 4;
        join_all(self.inner.hosts.iter().map(|host| host.reader.close(limit))).await;
        join_all(self.shards().map(Shard::close)).await;
        self.inner.state.hub.leave_all();
        self.inner.state.events.end();
        Ok(())
    }
}

impl Drop for CoreLayer {
    fn drop(&mut self) {
        self.reconciler.abort();
    }
}

/// Shows the state without addresses.
impl fmt::Debug for CoreLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreLayer")
            .field("client", &self.inner.state.client)
            .field("hosts", &self.inner.hosts.len())
            .field("connected", &self.is_connected())
            .field("hub", self.hub())
            .finish()
    }
}
