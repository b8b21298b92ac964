//! The named channels of a layer: by queues where the bus has them, otherwise by subscriptions.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use tokio::time::timeout;

use super::{
    counters::Count,
    engine::{Engine, Names},
    error::LinkError,
    queue_reader::QueueReader,
    queues::{Push, Pushed, Role},
    sending,
    shard::Shard,
    shared_receiver::SharedReceivers,
};
use crate::{
    error::{Error, Result},
    message::Message,
    name::{ChannelName, GroupName},
};

#[derive(Debug)]
pub(super) enum NamedChannels {
    /// One reader per shard.
    Queues(Vec<QueueReader>),
    Subscriptions(Arc<SharedReceivers>),
}

impl NamedChannels {
    pub(super) fn new(engine: &Engine, shards: &[Shard]) -> Self {
        if !engine.options.queues {
            return Self::Subscriptions(Arc::default());
        }
        let reader = |shard: &Shard| {
            QueueReader::new(shard.links(), engine.counters.clone(), &engine.options, Message::from_bytes)
        };
        Self::Queues(shards.iter().map(reader).collect())
    }

    /// Whether messages for this channel wait in a queue.
    pub(super) fn is_queue(&self, channel: &ChannelName) -> bool {
        matches!(self, Self::Queues(_)) && !channel.is_process_local()
    }

    /// Whether this process receives from the channel by a subscription.
    pub(super) fn receives(&self, channel: &ChannelName) -> bool {
        matches!(self, Self::Subscriptions(receivers) if receivers.contains(channel))
    }

    pub(super) async fn send(
        &self,
        engine: &Engine,
        shards: &[Shard],
        channel: &ChannelName,
        message: &Message,
    ) -> Result<()> {
        match self {
            Self::Queues(_) => push(engine, shards, channel, message, Role::Sender).await.map(drop),
            Self::Subscriptions(_) => sending::to_channel(engine, shards, channel, message).await,
        }
    }

    pub(super) async fn receive(
        &self,
        engine: &Arc<Engine>,
        shards: &[Shard],
        channel: &ChannelName,
    ) -> Result<Message> {
        let owned = || Error::ChannelOwned { channel: channel.to_string() };
        let is_owned = match &engine.names {
            Names::Own(_) => channel.is_process_local(),
            Names::Foreign(format) => format.is_mailbox(channel),
        };
        match self {
            _ if is_owned => Err(owned()),
            Self::Queues(readers) => {
                let reader = &readers[index(engine, shards, channel)];
                reader.receive(channel).await.ok_or(Error::Closed)
            }
            Self::Subscriptions(receivers) => {
                let bounds = engine.options.layer.bounds_of(channel);
                let (receiver, is_new) = receivers.enter(&engine.hub, channel, bounds).ok_or_else(owned)?;
                if is_new {
                    tokio::spawn(retire(receivers.clone(), engine.clone(), channel.clone()));
                }
                let (topic, shard) = engine.place_of_channel(shards, channel);
                shard.join(&topic, || true).await?;
                let mut closed = engine.closed.subscribe();
                tokio::select! {
                    message = receiver.recv() => Ok(message),
                    _ = closed.wait_for(|closed| *closed) => Err(Error::Closed),
                }
            }
        }
    }

    /// Adds a channel with a queue to a group.
    pub(super) async fn add(
        &self,
        engine: &Arc<Engine>,
        shards: &[Shard],
        group: &GroupName,
        channel: &ChannelName,
    ) -> Result<()> {
        let _ = (engine, shards, group, channel);
        Err(Error::Unsupported("named channels in groups"))
    }

    /// Drops the messages of queues.
    pub(super) async fn clear(&self, shards: &[Shard]) -> Result<()> {
        let Self::Queues(readers) = self else { return Ok(()) };
        readers.iter().for_each(QueueReader::discard);
        let clear = async |shard: &Shard| match shard.link()?.queues() {
            Some(queues) => queues.clear().await,
            None => Ok(()),
        };
        try_join_all(shards.iter().map(clear)).await.map(drop)
    }

    pub(super) async fn close(&self, engine: &Engine, _: &[Shard]) {
        if let Self::Queues(readers) = self {
            join_all(readers.iter().map(|reader| reader.close(engine.patience() * 2))).await;
        }
    }
}

/// Ends the mailbox of a channel some time after its last receiver.
async fn retire(receivers: Arc<SharedReceivers>, engine: Arc<Engine>, channel: ChannelName) {
    let mut closed = engine.closed.subscribe();
    tokio::select! {
        () = receivers.retire(&channel, engine.options.linger) => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

fn index(engine: &Engine, shards: &[Shard], channel: &ChannelName) -> usize {
    (engine.shard_of)(channel.as_str(), shards.len()).min(shards.len() - 1)
}

/// Adds a message to the queue of a channel.
pub(super) async fn push(
    engine: &Engine,
    shards: &[Shard],
    channel: &ChannelName,
    message: &Message,
    role: Role<'_>,
) -> Result<Pushed> {
    let body = message.to_bytes()?;
    engine.check_size(body.len())?;
    let layer = &engine.options.layer;
    let push = Push { body: &body, capacity: layer.capacity_of(channel).max(1), expiry: layer.expiry, role };
    let limit = engine.patience();
    let pushing = async {
        let link = shards[index(engine, shards, channel)].link()?;
        let queues = link.queues().ok_or(Error::Unsupported("named channels"))?;
        timeout(limit, queues.push(channel, push)).await.map_err(|_| LinkError::Deadline(limit))?
    };
    let pushed = pushing.await.inspect_err(|_| engine.counters.one(Count::PublishFailed))?;
    if pushed == Pushed::Stored {
        engine.counters.one(Count::Published);
    }
    Ok(pushed)
}
