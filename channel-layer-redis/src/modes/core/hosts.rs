//! The servers of a layer.

use std::sync::{Arc, Mutex};

use channel_layer::{
    ChannelName, GroupName, Result,
    backbone::{LinkError, QueueReader, Shard},
};

use super::state::CoreState;
use crate::{
    error::CallError,
    format::shard_of,
    link::{
        CommandConnection, RedisBackbone,
        client::{Command, Reply, Script},
    },
};

/// The layer, but for its tasks. They know it weakly, so that dropping the layer ends it.
#[derive(Debug)]
pub(super) struct CoreInner {
    pub(super) state: Arc<CoreState>,
    pub(super) hosts: Vec<Host>,
    /// The deletion counters of each host at the time when it was last known to hold all wanted memberships. `None` for a
    /// host that does not report them. Locked for single accesses only.
    pub(super) deletions: Mutex<Vec<Option<String>>>,
}

/// One server.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) shard: Shard,
    pub(super) backbone: Arc<RedisBackbone>,
    pub(super) reader: QueueReader,
}

impl CoreInner {
    pub(super) fn host_of(&self, group: &GroupName) -> &Host {
        &self.hosts[shard_of(group.as_str(), self.hosts.len())]
    }

    /// Receives the messages for mailboxes whose names begin like this one, from now on.
    pub(super) fn receive_for(&self, mailbox: &ChannelName) {
        let at = shard_of(mailbox.non_local(), self.hosts.len());
        if self.state.inboxes[at].add(mailbox.non_local()) {
            self.hosts[at].reader.take_always();
        }
    }
}

impl Host {
    /// The connections in use.
    pub(super) fn commands(&self) -> Result<Arc<CommandConnection>, CallError> {
        let commands = self.shard.is_up().then(|| self.backbone.commands()).flatten();
        commands.ok_or_else(|| self.away())
    }

    /// The fault with which calls fail at present.
    pub(super) fn away(&self) -> CallError {
        match self.shard.away() {
            LinkError::Closed => CallError::Closed,
            error => CallError::NoLink(error.to_string()),
        }
    }

    pub(super) async fn call(&self, command: Command) -> Result<Reply, CallError> {
        self.commands()?.call(command).await
    }

    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<Reply, CallError> {
        self.commands()?.run(script, keys, arguments).await
    }
}
