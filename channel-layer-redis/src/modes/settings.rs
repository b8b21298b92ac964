//! The settings of the engine, from those of Redis.

use channel_layer::backbone::HubOptions;

use crate::config::RedisConfig;

/// The settings of the engine.
pub(super) fn options(config: &RedisConfig) -> HubOptions {
    HubOptions::new(config.layer.clone())
        .with_timeout(config.timeout)
        .with_connect_timeout(config.connect_timeout)
        .with_heartbeat(config.heartbeat)
        .with_probe(config.probe)
        .with_linger(config.linger)
        .with_max_message(config.max_message)
}

/// The name of a process.
pub(super) fn process_name(number: u64) -> String {
    format!("{number:016x}")
}
