//! The hosts of a layer.

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

/// The layer without its tasks, which hold it weakly so that dropping the layer ends them.
#[derive(Debug)]
pub(super) struct CoreInner {
    pub(super) state: Arc<CoreState>,
    pub(super) hosts: Vec<Host>,
    /// The deletion counters of each host when it was last known to have all memberships. `None` for a host that does not
    /// report them. Locked for single accesses.
    pub(super) deletions: Mutex<Vec<Option<String>>>,
}

/// A host with its connections.
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

    /// Starts to receive messages for the mailboxes that share an inbox with this one.
    pub(super) fn receive_for(&self, mailbox: &ChannelName) {
        let at = shard_of(mailbox.non_local(), self.hosts.len());
        if self.state.inboxes[at].add(mailbox.non_local()) {
            self.hosts[at].reader.take_always();
        }
    }
}

impl Host {
    /// The command connection of the current link.
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
