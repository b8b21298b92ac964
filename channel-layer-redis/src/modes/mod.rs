//! The modes: the names, payloads and stored data of each.

pub(crate) mod core;
#[cfg(any(test, fuzzing))]
mod fuzz_harness;
pub(crate) mod native;
pub(crate) mod pubsub;

use std::sync::Arc;

use channel_layer::{
    ChannelLayer,
    backbone::{HubLayer, HubLayerBuilder, HubOptions},
    hub::Hub,
};

use self::{
    native::NativeMode,
    pubsub::{DjangoFormat, PubSubMode},
};
use crate::{
    config::{RedisConfig, RedisMode},
    format::shard_of,
    link::{LinkMode, RedisBackbone},
    stats::{self, Stats},
};

/// The layer of a mode.
pub(crate) trait ModeLayer: ChannelLayer {
    /// The counters since the layer was created.
    fn stats(&self) -> Stats;

    /// The mailboxes and groups of this process.
    fn hub(&self) -> &Hub;

    /// Whether every host is currently connected.
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

/// Prepares a layer of mode `native` or `pubsub`.
pub(crate) fn builder(config: &Arc<RedisConfig>) -> HubLayerBuilder<RedisBackbone> {
    let options = config.hub.clone();
    match config.mode {
        RedisMode::PubSub => with_mode(config, options, PubSubMode).format(DjangoFormat::new(config)),
        RedisMode::Core | RedisMode::Native => {
            let native = NativeMode::new(&config.prefix);
            with_mode(config, options.with_queues(true), native).prefix(&config.prefix)
        }
    }
}

/// The name of a process, by its number.
fn process_name(number: u64) -> String {
    format!("{number:016x}")
}

/// Prepares a layer of the engine with one shard for each host.
fn with_mode(
    config: &Arc<RedisConfig>,
    options: HubOptions,
    mode: impl LinkMode,
) -> HubLayerBuilder<RedisBackbone> {
    let (number, counters, mode) = (fastrand::u64(..), stats::counters(), Arc::new(mode));
    let mut backbones = config.hosts.iter().map(|host| {
        let (config, process) = (config.clone(), process_name(number));
        RedisBackbone::new(host.clone(), config, counters.clone(), process, mode.clone())
    });
    let builder = HubLayer::builder(backbones.next().expect("every configuration has a host"), options);
    let builder = builder.counters(counters.clone()).process(number).shard_of(shard_of);
    backbones.fold(builder, HubLayerBuilder::shard)
}
