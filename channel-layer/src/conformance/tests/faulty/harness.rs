//! The harness: two processes on a bus in memory, with a fault in both.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};

use super::{
    Fault, Faulty, YEAR,
    life::events_of,
    wire::{FaultyBackbone, Wire},
    world::World,
};
use crate::{
    backbone::{
        HubLayer, HubOptions,
        bus::{Bus, BusOptions},
    },
    config::{CapacityRules, LayerConfig, OverflowPolicy},
    conformance::{Harness, Residue, Timing},
    layer::ChannelLayer,
};

/// The largest message.
pub(super) const LIMIT: usize = 2 << 20;

/// Two layers on one bus, with a paused clock.
pub(in super::super) struct OnBus {
    bus: Bus,
    /// Whether the bus has queues, acknowledges subscriptions and counts receivers.
    is_able: bool,
    fault: Option<Fault>,
    world: Arc<World>,
}

impl OnBus {
    /// Without a fault.
    pub(in super::super) fn sound() -> Self {
        Self { bus: Bus::new(), is_able: true, fault: None, world: Arc::default() }
    }

    /// Without a fault, on a bus that can no more than publish and subscribe.
    pub(in super::super) fn plain() -> Self {
        let options =
            BusOptions { acknowledges: false, counts: false, queues: false, ..BusOptions::default() };
        Self { bus: Bus::with_options(options), is_able: false, ..Self::sound() }
    }

    pub(in super::super) fn with(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    async fn connect(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        let wire = Wire::new(self.fault, config.clone(), &self.bus);
        let options = self.options(self.config(config.clone()));
        let layer = HubLayer::connect(FaultyBackbone::new(&self.bus, &wire), options).await;
        let layer = Arc::new(layer.expect("the bus works"));
        let events = events_of(self.fault, layer.events());
        let mut state = self.world.state();
        state.layers.push(layer.clone());
        state.events.extend(events.clone());
        drop(state);
        Arc::new(Faulty {
            layer,
            fault: self.fault,
            config,
            wire,
            world: self.world.clone(),
            sent: Default::default(),
            opened: Default::default(),
            under_way: Default::default(),
            held: Default::default(),
            closed: Default::default(),
            events,
        })
    }

    fn config(&self, config: LayerConfig) -> LayerConfig {
        let LayerConfig { expiry, group_expiry, capacity, .. } = config;
        match self.fault {
            Some(Fault::IgnoresExpiry) => config.with_expiry(YEAR),
            Some(Fault::HalvesExpiry) => config.with_expiry(expiry / 2),
            Some(Fault::IgnoresGroupExpiry) => config.with_group_expiry(YEAR),
            Some(Fault::HalvesGroupExpiry) => config.with_group_expiry(group_expiry / 2),
            Some(Fault::IsNeverFull) => config.with_capacity(1_000_000),
            Some(Fault::TakesOneMore) => config.with_capacity(capacity + 1),
            Some(Fault::TakesOneLess) => config.with_capacity(capacity - 1),
            Some(Fault::DropsTheOldest) => config.with_overflow(OverflowPolicy::DropOldest),
            Some(Fault::IgnoresBytes) => config.with_byte_capacity(1 << 40),
            Some(Fault::IgnoresPatterns) => config.with_channel_capacity(CapacityRules::default()),
            _ => config,
        }
    }

    fn options(&self, config: LayerConfig) -> HubOptions {
        let options = HubOptions::new(config)
            .with_queues(self.is_able)
            .with_shared_subscriptions(!self.is_able)
            .with_max_message(LIMIT);
        match self.fault {
            Some(Fault::IgnoresTheSizeLimit | Fault::IgnoresTheSizeLimitOfGroupSends) => {
                options.with_max_message(LIMIT * 16)
            }
            Some(Fault::OverlooksFreezes) => options.with_heartbeat(YEAR).with_probe(YEAR).with_timeout(YEAR),
            _ => options,
        }
    }
}

#[async_trait]
impl Harness for OnBus {
    async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        self.connect(config).await
    }

    async fn peer(&self, config: LayerConfig) -> Option<Arc<dyn ChannelLayer>> {
        Some(self.connect(config).await)
    }

    /// Sleeps, because `advance` would not let other tasks run in between.
    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn sever(&self) -> bool {
        self.world.set_broken(true);
        self.bus.sever();
        true
    }

    async fn freeze(&self) -> bool {
        self.world.set_broken(true);
        self.bus.freeze();
        true
    }

    async fn lose(&self) -> bool {
        self.bus.set_options(BusOptions { loses_one_in: Some(1), ..BusOptions::default() });
        true
    }

    async fn mend(&self) -> bool {
        self.bus.set_options(BusOptions::default());
        self.world.set_broken(false);
        self.bus.mend();
        true
    }

    async fn residue(&self) -> Option<Residue> {
        let (connections, subscriptions) = (self.bus.links(), self.bus.subscriptions());
        Some(Residue { connections, subscriptions, keys: 0 })
    }

    fn size_limit(&self) -> Option<usize> {
        Some(LIMIT)
    }

    /// Uses short expiries, because the engine checks memberships four times in their lifetime. The limit ends endless
    /// cases.
    fn timing(&self) -> Timing {
        let timing = Timing::paused().with_expiries(Duration::from_secs(60), Duration::from_secs(4));
        Timing { limit: Duration::from_secs(3600), ..timing }
    }

    fn runtime(&self) -> Runtime {
        Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime can be built")
    }
}
