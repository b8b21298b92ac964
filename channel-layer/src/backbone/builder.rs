//! Making a [`HubLayer`].

use std::sync::Arc;

use super::{
    counters::Counters,
    engine::Names,
    format::{Format, ShardOf, Topics, spread},
    hub_layer::HubLayer,
    link::Backbone,
    options::HubOptions,
};
use crate::error::Result;

/// The parts of a [`HubLayer`] that have defaults.
#[derive(Debug)]
pub struct HubLayerBuilder<B> {
    pub(super) backbones: Vec<B>,
    pub(super) options: HubOptions,
    pub(super) names: Names,
    pub(super) shard_of: ShardOf,
    pub(super) counters: Arc<Counters>,
    pub(super) process: u64,
}

impl<B: Backbone> HubLayerBuilder<B> {
    pub(super) fn new(backbone: B, options: HubOptions) -> Self {
        Self {
            backbones: vec![backbone],
            options,
            names: Names::Own(Topics::new("channels")),
            shard_of: spread,
            counters: Arc::new(Counters::metered()),
            process: fastrand::u64(..),
        }
    }

    /// Adds a shard: an independent server, where a part of the names has its home. All processes have to agree on the
    /// servers and on their order.
    pub fn shard(mut self, backbone: B) -> Self {
        self.backbones.push(backbone);
        self
    }

    /// Sets the function that spreads names over shards, FNV-1a by default.
    pub fn shard_of(mut self, shard_of: ShardOf) -> Self {
        self.shard_of = shard_of;
        self
    }

    /// Sets the beginning of every topic, `channels` by default. Layers with different prefixes never meet.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.names = Names::Own(Topics::new(prefix));
        self
    }

    /// Sets the names and payloads of other software instead of the engine's own.
    pub fn format(mut self, format: impl Format) -> Self {
        self.names = Names::Foreign(Arc::new(format));
        self
    }

    /// Sets the counters, which may be shared with the backbone.
    pub fn counters(mut self, counters: Arc<Counters>) -> Self {
        self.counters = counters;
        self
    }

    /// Sets the number of this process, random by default. In hexadecimal it is the process's name.
    pub fn process(mut self, number: u64) -> Self {
        self.process = number;
        self
    }

    /// Starts a layer that connects in the background, and whose calls are
    /// [`Unavailable`](crate::Error::Unavailable) until it has: for programs that must start while the server is away.
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
