//! Named channels of a layer, through queues where the bus has them, otherwise through subscriptions.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};

use super::{
    counters::Count,
    engine::{Engine, Names},
    forwarders::Forwarders,
    queue_reader::QueueReader,
    sending,
    shard::Shard,
    shared_receiver::SharedReceivers,
};
use crate::{
    error::{Error, Result},
    message::Message,
    name::{ChannelName, GroupName},
};

/// The way in which receivers share a named channel.
#[derive(Debug)]
pub(super) enum ChannelSharing {
    /// Queues at the server, with a reader for each shard.
    Queues { readers: Vec<QueueReader>, forwarders: Forwarders },
    /// Topics that the processes of the receivers subscribe to.
    Subscriptions(Arc<SharedReceivers>),
}

impl ChannelSharing {
    pub(super) fn new(engine: &Engine, shards: &[Shard]) -> Self {
        if !engine.options.queues {
            return Self::Subscriptions(Arc::default());
        }
        let reader = |shard: &Shard| {
            QueueReader::new(shard.links(), engine.counters.clone(), &engine.options, Message::from_bytes)
        };
        Self::Queues { readers: shards.iter().map(reader).collect(), forwarders: Forwarders::default() }
    }

    /// Whether messages for this channel are stored in a queue.
    pub(super) fn is_queue(&self, channel: &ChannelName) -> bool {
        matches!(self, Self::Queues { .. }) && !channel.is_process_local()
    }

    /// Whether this process receives from the channel through a subscription.
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
            Self::Queues { .. } => sending::to_queue(engine, shards, channel, message, None).await,
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
        match self {
            _ if engine.is_mailbox(channel) => Err(owned()),
            Self::Queues { readers, .. } => {
                let reader = &readers[engine.shard_index(shards, channel.as_str())];
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
        match self {
            Self::Queues { forwarders, .. } => forwarders.join(engine, shards, group, channel).await,
            Self::Subscriptions(_) => Err(Error::Unsupported("named channels in groups")),
        }
    }

    /// Drops the messages of queues.
    pub(super) async fn clear(&self, shards: &[Shard]) -> Result<()> {
        let Self::Queues { readers, .. } = self else { return Ok(()) };
        readers.iter().for_each(QueueReader::discard);
        let clear = async |shard: &Shard| match shard.link()?.queues() {
            Some(queues) => queues.clear().await,
            None => Ok(()),
        };
        try_join_all(shards.iter().map(clear)).await.map(drop)
    }

    pub(super) async fn close(&self, engine: &Engine) {
        if let Self::Queues { readers, forwarders } = self {
            forwarders.close(engine).await;
            join_all(readers.iter().map(|reader| reader.close(engine.call_timeout() * 2))).await;
        }
    }
}

/// Closes the mailbox of a channel some time after its last receiver.
async fn retire(receivers: Arc<SharedReceivers>, engine: Arc<Engine>, channel: ChannelName) {
    let mut closed = engine.closed.subscribe();
    let is_shared = engine.options.shared_subscriptions && matches!(engine.names, Names::Native(_));
    tokio::select! {
        () = receivers.retire(&channel, engine.options.linger) => {}
        () = give_back(&receivers, &engine, &channel), if is_shared => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

/// Returns messages without a receiver to the bus, which will eventually choose another process.
async fn give_back(receivers: &SharedReceivers, engine: &Engine, channel: &ChannelName) {
    while let Some(deliveries) = receivers.unclaimed(channel).await {
        for delivery in deliveries {
            match sending::resend(engine, channel, &delivery).await {
                Ok(()) => engine.counters.one(Count::GivenBack),
                Err(error) => engine.counters.warn("a message without a receiver is lost", &error.into()),
            }
        }
    }
}
