//! The connection to one host of a store: the supervised links of layers, without messages.

use std::{fmt, sync::Arc};

use channel_layer::{
    EventSource,
    backbone::{LinkError, Probe, Shard, ShardHandler, Stamp},
};

use crate::{
    config::{HostConfig, RedisConfig},
    error::CallError,
    link::{
        LinkMode, RedisBackbone,
        client::{Command, Reply},
    },
    stats::Counters,
};

/// The beginning of the keys of all sessions. Not that of a layer's keys, which a flush deletes.
pub(super) fn key_prefix(config: &RedisConfig) -> String {
    format!("session:{}:", config.prefix)
}

/// A host with its connections, which end with this value.
pub(super) struct SessionHost {
    shard: Shard,
    backbone: Arc<RedisBackbone>,
}

impl SessionHost {
    /// Starts to connect.
    pub(super) fn start(host: &HostConfig, config: &Arc<RedisConfig>, counters: &Arc<Counters>) -> Self {
        let mode = Arc::new(SessionMode { key: key_prefix(config) });
        let process = format!("sessions:{:016x}", fastrand::u64(..));
        let backbone =
            RedisBackbone::new(host.clone(), config.clone(), counters.clone(), process, mode.clone());
        let backbone = Arc::new(backbone);
        let events = Arc::new(EventSource::new(1));
        let shard = Shard::start(backbone.clone(), mode, config.hub.clone(), counters.clone(), events);
        Self { shard, backbone }
    }

    /// Waits for the outcome of the first attempt to connect.
    pub(super) async fn connected(&self) -> Result<(), LinkError> {
        self.shard.connected().await
    }

    pub(super) fn is_connected(&self) -> bool {
        self.shard.is_up()
    }

    /// Sends a command, with the deadline of the configuration.
    pub(super) async fn call(&self, command: Command) -> Result<Reply, CallError> {
        let commands = self.shard.is_up().then(|| self.backbone.commands()).flatten();
        match commands {
            Some(commands) => commands.call(command).await,
            None => Err(CallError::NoLink(self.shard.away().to_string())),
        }
    }
}

/// Shows the address, without a password.
impl fmt::Debug for SessionHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backbone.fmt(f)
    }
}

/// Links that carry commands only: there is no topic, and no message.
#[derive(Debug)]
struct SessionMode {
    /// The key of no session, for the check of commands.
    key: String,
}

impl LinkMode for SessionMode {
    fn needed(&self) -> Vec<(&'static str, Command)> {
        let key = &self.key;
        vec![
            ("SET", Command::new("SET").arg(key).arg("").arg("XX").arg("PX").arg(1)),
            ("GETRANGE", Command::new("GETRANGE").arg(key).arg(0).arg(0)),
            ("DEL", Command::new("DEL").arg(key)),
        ]
    }

    fn subject(&self, _: &RedisConfig) -> String {
        "a store of sessions".to_owned()
    }
}

impl ShardHandler for SessionMode {
    fn process_topics(&self) -> Vec<String> {
        Vec::new()
    }

    fn is_unused(&self, _: &str) -> bool {
        true
    }

    fn is_shared(&self, _: &str) -> bool {
        false
    }

    fn begins(&self, _: &str) {}

    fn resumes(&self) {}

    fn probe(&self, _: Option<&str>) -> Option<Probe> {
        None
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn received(&self, _: &str, _: &[u8]) {}
}
