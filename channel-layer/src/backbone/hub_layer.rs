//! A channel layer over a message bus, and its builder.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};

use super::{
    counters::{BackboneStats, Counters},
    engine::{Engine, Names},
    envelope::Target,
    format::{Format, ShardOf, Topics, spread},
    inbound::Handler,
    link::Backbone,
    named::ChannelSharing,
    options::HubOptions,
    requests, sending,
    shard::Shard,
};
use crate::{
    capability::Capabilities,
    config::MailboxOptions,
    error::{Error, Result},
    events::{Health, LayerEvents},
    hub::Hub,
    layer::{Audience, ChannelLayer, GroupDirectory, Remote, SendReport},
    mailbox::{Delivery, Mailbox, Refusal},
    message::Message,
    name::{ChannelName, GroupName},
    selection::Selection,
};

/// A [`ChannelLayer`] over a message bus.
///
/// The groups of a process are in its [`Hub`]. Each of them costs one subscription per process, whatever its size, and
/// each `group_send` one publish. The process receives its messages back from the bus, so all members in all processes
/// see one order.
///
/// See [the module](super) for the traits that a backend implements.
pub struct HubLayer<B> {
    engine: Arc<Engine>,
    /// The only strong references, so that dropping the layer ends them.
    shards: Arc<[Shard]>,
    named: ChannelSharing,
    backbone: PhantomData<fn() -> B>,
}

impl<B: Backbone> HubLayer<B> {
    /// Starts a layer that connects in the background: [`HubLayerBuilder::start`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(backbone: B, options: HubOptions) -> Self {
        Self::builder(backbone, options).start()
    }

    /// Starts a layer and waits for its first connection.
    ///
    /// # Errors
    /// The outcome of the first attempt to connect.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(backbone: B, options: HubOptions) -> Result<Self> {
        Self::builder(backbone, options).connect().await
    }

    /// Prepares a layer with more than the defaults.
    pub fn builder(backbone: B, options: HubOptions) -> HubLayerBuilder<B> {
        HubLayerBuilder::new(backbone, options)
    }

    fn from_builder(builder: HubLayerBuilder<B>) -> Self {
        let HubLayerBuilder { backbones, options, names, shard_of, counters, process } = builder;
        let engine = Engine::new(options, counters, names, shard_of, backbones.len(), process);
        let shard = |backbone: B| {
            let handler = Arc::new(Handler::new(engine.clone()));
            let (options, counters) = (engine.options.clone(), engine.counters.clone());
            Shard::start(Arc::new(backbone), handler, options, counters, engine.events.clone())
        };
        let shards: Arc<[Shard]> = backbones.into_iter().map(shard).collect();
        engine.set_shards(&shards);
        let named = ChannelSharing::new(&engine, &shards);
        Self { engine, shards, named, backbone: PhantomData }
    }

    async fn connected(&self) -> Result<()> {
        try_join_all(self.shards.iter().map(Shard::connected)).await?;
        Ok(())
    }

    /// The statistics since the layer was created.
    pub fn stats(&self) -> BackboneStats {
        self.engine.counters.snapshot()
    }

    /// The mailboxes and groups of this process.
    pub fn hub(&self) -> &Hub {
        &self.engine.hub
    }

    /// Whether every shard is connected at this moment.
    pub fn is_connected(&self) -> bool {
        self.shards.iter().all(Shard::is_up)
    }

    /// The name of this process, which is a part of the names of its mailboxes.
    pub fn process(&self) -> &str {
        &self.engine.process
    }

    fn is_native_format(&self) -> bool {
        matches!(self.engine.names, Names::Native(_))
    }

    /// Opens a mailbox under a new name.
    fn open_mailbox(&self, options: &MailboxOptions) -> Result<Mailbox> {
        loop {
            let channel = match &self.engine.names {
                Names::Native(_) => {
                    ChannelName::random(&format!("{}.{}", options.prefix, self.engine.process))?
                }
                Names::Foreign(format) => format.mailbox_name(&options.prefix)?,
            };
            let limits = self.engine.options.layer.limits_of(&channel, options);
            if let Some(mailbox) = self.engine.hub.open(channel, limits) {
                return Ok(mailbox);
            }
        }
    }

    /// Fails if a shard is not connected.
    fn check_connected(&self) -> Result<()> {
        match self.shards.iter().find(|shard| !shard.is_up()) {
            Some(shard) => Err(shard.away().into()),
            None => Ok(()),
        }
    }

    /// Sends a request about a channel to its owner, or to every process if it is a named one.
    async fn request(&self, channel: &ChannelName, target: Target) -> Result<()> {
        if channel.is_process_local() {
            return requests::ask(&self.engine, &self.shards, channel, target).await;
        }
        self.engine.publish_to_everyone(&self.shards, &target).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: Backbone> ChannelLayer for HubLayer<B> {
    fn capabilities(&self) -> Capabilities {
        let (is_native, has_queues) = (self.is_native_format(), self.engine.options.queues);
        Capabilities::default()
            .with_cross_process(true)
            .with_orders_calls(true)
            .with_selects(true)
            .with_adds_foreign(is_native)
            .with_detects_loss(is_native)
            .with_global_flush(is_native)
            .with_reports_full(has_queues)
            .with_stores_messages(has_queues)
            .with_shares_work(has_queues || self.engine.options.shared_subscriptions)
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.engine.check_open()?;
        let mailbox = self.open_mailbox(&options)?;
        if !self.is_native_format() {
            let (topic, shard) = self.engine.place_of_channel(&self.shards, mailbox.channel());
            shard.join(&topic, || true).await?;
        }
        Ok(mailbox)
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.engine.check_open()?;
        if !channel.is_process_local() && self.named.receives(channel) || self.named.is_queue(channel) {
            return self.named.send(&self.engine, &self.shards, channel, &message).await;
        }
        let delivery = Delivery { message: message.clone(), expires: self.engine.expires() };
        match self.engine.hub.send(channel, delivery) {
            Some(Err(Refusal::Full)) => Err(Error::ChannelFull { channel: channel.to_string() }),
            Some(_) => Ok(()),
            None => sending::to_channel(&self.engine, &self.shards, channel, &message).await,
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.engine.check_open()?;
        self.named.receive(&self.engine, &self.shards, channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.engine.check_open()?;
        if self.named.is_queue(channel) {
            return self.named.add(&self.engine, &self.shards, group, channel).await;
        }
        if self.engine.hub.contains(channel) {
            self.engine.join(&self.shards, group, channel).await?;
            return Ok(());
        }
        if !self.is_native_format() || !channel.is_process_local() {
            // There is no request to the process that receives from it.
            return Err(Error::Unsupported("adding a channel of another process to a group"));
        }
        self.request(channel, Target::Add(channel.clone(), group.clone())).await
    }

    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: Selection,
    ) -> Result<()> {
        if selection == Selection::All {
            return self.group_add(group, channel).await;
        }
        self.engine.check_open()?;
        if !self.engine.is_mailbox(channel) {
            return Err(Error::Unsupported("selections of named channels"));
        }
        if self.engine.hub.contains(channel) {
            self.engine.join_selecting(&self.shards, group, channel, &selection).await?;
            return Ok(());
        }
        match requests::owner_of(channel) {
            Some(owner) if owner == self.engine.process => Ok(()), // a closed mailbox
            _ => Err(Error::Unsupported("selections of a channel of another process")),
        }
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.engine.check_open()?;
        let is_ours = self.engine.hub.contains(channel);
        self.engine.hub.leave(group, channel);
        if is_ours && channel.is_process_local() {
            return Ok(());
        }
        self.request(channel, Target::Discard(channel.clone(), group.clone())).await
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.engine.check_open()?;
        let is_ours = self.engine.hub.contains(channel);
        self.engine.hub.leave_groups_of(channel);
        if is_ours && channel.is_process_local() {
            return Ok(());
        }
        self.request(channel, Target::DiscardAll(channel.clone())).await
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.engine.check_open()?;
        if to.is_local_only() {
            let deliveries = self.engine.hub.broadcast(to, message, self.engine.expires()).await;
            return Ok(SendReport::new(deliveries, Remote::None));
        }
        sending::to_audience(&self.engine, &self.shards, to, message).await
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        None // a process knows only its members
    }

    fn events(&self) -> LayerEvents {
        self.engine.events.subscribe()
    }

    async fn health(&self) -> Result<Health> {
        self.engine.check_open()?;
        let trips = try_join_all(self.shards.iter().map(Shard::round_trip)).await?;
        let slowest = trips.into_iter().max().unwrap_or(Duration::ZERO);
        Ok(Health::new(slowest, self.engine.hub.mailbox_count(), self.engine.hub.group_count()))
    }

    async fn flush(&self) -> Result<()> {
        self.engine.check_open()?;
        if self.is_native_format() {
            self.check_connected()?; // before anything is dropped here
        }
        self.engine.hub.leave_all();
        self.engine.hub.discard_messages();
        self.engine.publish_to_everyone(&self.shards, &Target::Flush).await?;
        self.named.clear(&self.shards).await
    }

    async fn close(&self) -> Result<()> {
        if self.engine.closed.send_replace(true) {
            return Ok(());
        }
        self.named.close(&self.engine).await;
        join_all(self.shards.iter().map(Shard::close)).await;
        self.engine.hub.leave_all();
        self.engine.events.end();
        Ok(())
    }
}

impl<B> Drop for HubLayer<B> {
    fn drop(&mut self) {
        self.engine.closed.send_replace(true);
    }
}

/// Shows the state, without an address.
impl<B> fmt::Debug for HubLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubLayer")
            .field("process", &self.engine.process)
            .field("shards", &self.shards.len())
            .field("connected", &self.shards.iter().all(Shard::is_up))
            .field("hub", &self.engine.hub)
            .finish()
    }
}

/// The parts of a [`HubLayer`] that have defaults.
#[derive(Debug)]
pub struct HubLayerBuilder<B> {
    backbones: Vec<B>,
    options: HubOptions,
    names: Names,
    shard_of: ShardOf,
    counters: Arc<Counters>,
    process: u64,
}

impl<B: Backbone> HubLayerBuilder<B> {
    fn new(backbone: B, options: HubOptions) -> Self {
        Self {
            backbones: vec![backbone],
            options,
            names: Names::Native(Topics::new("channels")),
            shard_of: spread,
            counters: Arc::new(Counters::metered()),
            process: fastrand::u64(..),
        }
    }

    /// Adds a shard: an independent server that holds a part of the names. All processes must agree on the servers and
    /// on their order.
    pub fn shard(mut self, backbone: B) -> Self {
        self.backbones.push(backbone);
        self
    }

    /// Sets the function that spreads names over shards, FNV-1a by default.
    pub fn shard_of(mut self, shard_of: ShardOf) -> Self {
        self.shard_of = shard_of;
        self
    }

    /// Sets the prefix of every topic, `channels` by default. Layers with different prefixes are independent.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.names = Names::Native(Topics::new(prefix));
        self
    }

    /// Sets the names and payloads of other software, in place of the engine's.
    pub fn format(mut self, format: impl Format) -> Self {
        self.names = Names::Foreign(Arc::new(format));
        self
    }

    /// Sets the counters, which may be shared with the backbone.
    pub fn counters(mut self, counters: Arc<Counters>) -> Self {
        self.counters = counters;
        self
    }

    /// Sets the number of this process, random by default. Its hexadecimal form is the name of the process.
    pub fn process(mut self, number: u64) -> Self {
        self.process = number;
        self
    }

    /// Starts a layer that connects in the background, and whose calls are
    /// [`Unavailable`](crate::Error::Unavailable) until it has. For programs that must start while the server is down.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> HubLayer<B> {
        HubLayer::from_builder(self)
    }

    /// Starts a layer and waits for its first connections.
    ///
    /// # Errors
    /// The outcome of the first attempt to connect.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(self) -> Result<HubLayer<B>> {
        let layer = self.start();
        layer.connected().await?;
        Ok(layer)
    }
}

#[cfg(test)]
#[cfg(feature = "conformance")]
mod simulation;
#[cfg(test)]
#[cfg(feature = "conformance")]
mod tests;
