//! The modes: what each stores in Redis, and under which names.

pub(crate) mod core;
#[cfg(any(test, fuzzing))]
mod fuzz;
pub(crate) mod native;
pub(crate) mod pubsub;

use std::sync::Arc;

use channel_layer::{
    ChannelLayer,
    backbone::{HubLayer, HubLayerBuilder, HubOptions},
    hub::Hub,
};

use crate::{
    config::RedisConfig,
    link::{LinkMode, RedisBackbone},
    ring::host_of,
    stats::{self, Stats},
};

/// The layer of a mode.
pub(crate) trait ModeLayer: ChannelLayer {
    /// The numbers since the layer was made.
    fn stats(&self) -> Stats;

    /// The mailboxes and groups of this process.
    fn hub(&self) -> &Hub;

    /// Whether every host is connected at this moment.
    fn is_connected(&self) -> bool;
}

macro_rules! mode_layers {
    ($($layer:ty)*) => {$(
        impl ModeLayer for $layer {
            fn stats(&self) -> Stats {
                self.stats()
            }

            fn hub(&self) -> &Hub {
                self.hub()
            }

            fn is_connected(&self) -> bool {
                self.is_connected()
            }
        }
    )*};
}
mode_layers! { core::CoreLayer HubLayer<RedisBackbone> }

/// The settings of the engine.
pub(crate) fn options(config: &RedisConfig) -> HubOptions {
    HubOptions::new(config.layer.clone())
        .with_timeout(config.timeout)
        .with_connect_timeout(config.connect_timeout)
        .with_heartbeat(config.heartbeat)
        .with_probe(config.probe)
        .with_linger(config.linger)
        .with_max_message(config.max_message)
}

/// Prepares a layer of the engine with one shard for each host. The number is that of the process.
fn builder(
    config: &Arc<RedisConfig>,
    options: HubOptions,
    number: u64,
    mode: &Arc<dyn LinkMode>,
) -> HubLayerBuilder<RedisBackbone> {
    let counters = stats::counters();
    let mut backbones = config
        .places
        .iter()
        .map(|place| RedisBackbone::new(place.clone(), config.clone(), counters.clone(), mode.clone()));
    let first = backbones.next().expect("every configuration has a host");
    let builder = HubLayer::builder(first, options);
    let builder = builder.counters(counters.clone()).process(number).shard_of(host_of);
    backbones.fold(builder, HubLayerBuilder::shard)
}

/// The name of a process.
fn process_name(number: u64) -> String {
    format!("{number:016x}")
}
