//! Messages to mailboxes of other processes, and to groups.

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::{
    counters::Count,
    engine::{Engine, Names, SentMessage},
    envelope::Target,
    error::LinkError,
    format::Format,
    queues::{Push, Pushed},
    requests::owner_of,
    shard::Shard,
};
use crate::{
    error::{Error, Result},
    layer::{Audience, Deliveries, Remote, SendReport},
    mailbox::Delivery,
    message::Message,
    name::{ChannelName, GroupName},
};

/// Sends to a mailbox of another process, or to a named channel by its topic.
pub(super) async fn to_channel(
    engine: &Engine,
    shards: &[Shard],
    channel: &ChannelName,
    message: &Message,
) -> Result<()> {
    let topics = match &engine.names {
        Names::Native(topics) if channel.is_process_local() => topics,
        Names::Native(_) => {
            let envelope =
                engine.envelope(engine.next_number(), &Target::Channel(channel.clone()), Some(message))?;
            let (topic, shard) = engine.place_of_channel(shards, channel);
            shard.publish(&topic, &envelope).await?;
            return Ok(());
        }
        Names::Foreign(format) => {
            let payload = format.encode(message, None)?;
            engine.check_size(payload.len())?;
            let (topic, shard) = engine.place_of_channel(shards, channel);
            shard.publish(&topic, &payload).await?;
            return Ok(());
        }
    };
    let Some(owner) = owner_of(channel).filter(|owner| *owner != engine.process) else {
        return Ok(()); // no owner, or a closed mailbox of this process
    };
    let envelope = engine.envelope(engine.next_number(), &Target::Channel(channel.clone()), Some(message))?;
    engine.shard(shards, owner).publish(&topics.process(owner), &envelope).await?;
    Ok(())
}

/// Adds a message to the queue of a named channel. With an id, it is added once although several processes push it.
pub(super) async fn to_queue(
    engine: &Engine,
    shards: &[Shard],
    channel: &ChannelName,
    message: &Message,
    once: Option<u128>,
) -> Result<()> {
    let body = message.to_bytes()?;
    engine.check_size(body.len())?;
    let layer = &engine.options.layer;
    let push = Push { body: &body, capacity: layer.capacity_of(channel).max(1), expiry: layer.expiry, once };
    let limit = engine.call_timeout();
    let pushing = async {
        let link = engine.shard(shards, channel.as_str()).link()?;
        let queues = link.queues().ok_or(Error::Unsupported("named channels"))?;
        timeout(limit, queues.push(channel, push)).await.map_err(|_| LinkError::Deadline(limit))?
    };
    let pushed = pushing.await;
    match &pushed {
        Ok(Pushed::Stored) => engine.counters.one(Count::Published),
        Ok(Pushed::Known) | Err(Error::ChannelFull { .. }) => {}
        Err(_) => engine.counters.one(Count::PublishFailed),
    }
    pushed.map(drop)
}

/// Sends a message of a named channel again, for a process that has taken it from the bus and has no receiver for it.
/// Its expiry does not change.
pub(super) async fn resend(engine: &Engine, channel: &ChannelName, delivery: &Delivery) -> Result<()> {
    let shards = engine.shards().ok_or(Error::Closed)?;
    let lifetime = delivery.expires.saturating_duration_since(Instant::now());
    let target = Target::Channel(channel.clone());
    let envelope = engine.envelope_for(engine.next_number(), &target, Some(&delivery.message), lifetime)?;
    let (topic, shard) = engine.place_of_channel(&shards, channel);
    shard.publish(&topic, &envelope).await?;
    Ok(())
}

/// Sends to the members of groups, in all processes.
pub(super) async fn to_audience(
    engine: &Engine,
    shards: &[Shard],
    to: &Audience,
    message: Message,
) -> Result<SendReport> {
    match (&engine.names, to.only_group()) {
        (Names::Native(_), Some(group)) => to_group(engine, shards, to, group, message).await,
        (Names::Native(_), None) => to_groups(engine, shards, to, message).await,
        (Names::Foreign(format), Some(group)) if to.excepted().is_none() => {
            to_foreign_group(engine, shards, &**format, group, message).await
        }
        (Names::Foreign(format), _) => {
            let payload = format.encode(&message, Some(to))?;
            engine.check_size(payload.len())?;
            publish_to_each(engine, shards, to, &payload).await?;
            Ok(SendReport::new(Deliveries::default(), Remote::Unknown))
        }
    }
}

async fn to_group(
    engine: &Engine,
    shards: &[Shard],
    to: &Audience,
    group: &GroupName,
    message: Message,
) -> Result<SendReport> {
    let number = engine.next_number();
    let envelope = engine.envelope(number, &Target::Audience(to.clone()), Some(&message))?;
    let (topic, shard) = engine.place_of_group(shards, group);
    let is_subscribed = shard.is_subscribed(&topic);
    let is_expected = is_subscribed && engine.hub.member_count(group) > 0;
    let sent = SentMessage { message, expires: engine.expires() };
    let echo = is_expected.then(|| engine.echoes.add(number, sent));
    let reached = shard.publish(&topic, &envelope).await?;
    let local = match echo {
        Some(echo) => echo.wait(engine.options.timeout).await.unwrap_or_default(),
        None => Deliveries::default(),
    };
    Ok(SendReport::new(local, others(reached, is_subscribed)))
}

async fn to_groups(engine: &Engine, shards: &[Shard], to: &Audience, message: Message) -> Result<SendReport> {
    let number = engine.next_number();
    let envelope = engine.envelope(number, &Target::Audience(to.clone()), Some(&message))?;
    let is_expected = to.groups().any(|group| engine.hub.member_count(group) > 0);
    let sent = SentMessage { message, expires: engine.expires() };
    let echo = is_expected.then(|| engine.echoes.add(number, sent));
    publish_to_each(engine, shards, to, &envelope).await?;
    let local = match echo {
        Some(echo) => echo.wait(engine.options.timeout).await.unwrap_or_default(),
        None => Deliveries::default(),
    };
    Ok(SendReport::new(local, Remote::Unknown))
}

/// Sends to one group in a foreign format. The payload comes back unchanged, which identifies the echo.
async fn to_foreign_group(
    engine: &Engine,
    shards: &[Shard],
    format: &dyn Format,
    group: &GroupName,
    message: Message,
) -> Result<SendReport> {
    let payload = format.encode(&message, None)?;
    engine.check_size(payload.len())?;
    let (topic, shard) = engine.place_of_group(shards, group);
    let is_subscribed = shard.is_subscribed(&topic);
    let is_expected = is_subscribed && engine.hub.member_count(group) > 0;
    let echo = is_expected.then(|| engine.foreign_echoes.add(&topic, &payload, message));
    let reached = shard.publish(&topic, &payload).await?;
    let local = match echo {
        Some(echo) => echo.wait(engine.options.timeout).await.unwrap_or_default(),
        None => Deliveries::default(),
    };
    Ok(SendReport::new(local, others(reached, is_subscribed)))
}

/// Publishes to each of the groups once.
async fn publish_to_each(engine: &Engine, shards: &[Shard], to: &Audience, payload: &[u8]) -> Result<()> {
    let mut groups: Vec<_> = to.groups().collect();
    groups.sort_unstable();
    groups.dedup();
    let publish = async |group: &GroupName| {
        let (topic, shard) = engine.place_of_group(shards, group);
        shard.publish(&topic, payload).await
    };
    Ok(LinkError::combine(join_all(groups.into_iter().map(publish)).await)?)
}

/// The number of other processes that took a message, given the number of connections.
fn others(reached: Option<usize>, is_subscribed: bool) -> Remote {
    match reached {
        Some(reached) => Remote::Processes(reached.saturating_sub(usize::from(is_subscribed))),
        None => Remote::Unknown,
    }
}
