//! The modes: what each stores in Redis, and under which names.

pub(crate) mod core;
pub(crate) mod native;

use channel_layer::backbone::HubOptions;

use crate::config::RedisConfig;

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
