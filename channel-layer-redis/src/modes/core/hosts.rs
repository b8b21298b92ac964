//! The servers of a layer.

use std::sync::{Arc, Mutex};

use channel_layer::{
    ChannelName, GroupName, Result,
    backbone::{LinkError, QueueReader, Shard},
};

use super::state::Bus;
use crate::{
    error::Fault,
    format::shard_of,
    link::{
        Connections, RedisBackbone,
        client::{Command, Reply, Script},
    },
};

/// The layer, but for its tasks. They know it weakly, so that dropping the layer ends it.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) bus: Arc<Bus>,
    pub(super) hosts: Vec<Host>,
    /// The deletion counters of each host at the time when it was last known to hold all wanted memberships. `None` for a
    /// host that does not report them. Locked for single accesses only.
    pub(super) deleted: Mutex<Vec<Option<String>>>,
}

/// One server.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) shard: Shard,
    pub(super) backbone: Arc<RedisBackbone>,
    pub(super) reader: QueueReader,
}

impl Core {
    pub(super) fn host_of(&self, group: &GroupName) -> &Host {
        &self.hosts[shard_of(group.as_str(), self.hosts.len())]
    }

    /// Receives the messages for mailboxes whose names begin like this one, from now on.
    pub(super) fn receive_for(&self, mailbox: &ChannelName) {
        let at = shard_of(mailbox.non_local(), self.hosts.len());
        if self.bus.inboxes[at].add(mailbox.non_local()) {
            self.hosts[at].reader.take_always();
        }
    }
}

impl Host {
    /// The connections in use.
    pub(super) fn connections(&self) -> Result<Arc<Connections>, Fault> {
        let connections = self.shard.is_up().then(|| self.backbone.connections()).flatten();
        connections.ok_or_else(|| self.away())
    }

    /// The fault with which calls fail at present.
    pub(super) fn away(&self) -> Fault {
        match self.shard.away() {
            LinkError::Closed => Fault::Closed,
            error => Fault::NoLink(error.to_string()),
        }
    }

    pub(super) async fn call(&self, command: Command) -> Result<Reply, Fault> {
        self.connections()?.call(command).await
    }

    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<Reply, Fault> {
        self.connections()?.run(script, keys, arguments).await
    }
}
