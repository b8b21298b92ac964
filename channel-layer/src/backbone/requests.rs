//! Requests between processes: a mailbox joins or leaves groups in the process that owns it.

use std::sync::Arc;

use super::{
    engine::{Engine, Names},
    envelope::{Header, Target},
    error::LinkError,
    shard::Shard,
};
use crate::{
    error::{Error, Result},
    name::{ChannelName, GroupName},
};

/// The process that owns the mailbox of this name, and that ends with it.
pub(super) fn owner_of(channel: &ChannelName) -> Option<&str> {
    let head = channel.non_local().strip_suffix('!')?;
    let process = head.rsplit('.').next()?;
    (process.len() == 16 && process.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(process)
}

/// Sends a request to the owner of a channel and waits until it is done. Succeeds without effect if the owner is gone,
/// or the channel has none.
pub(super) async fn ask(
    engine: &Engine,
    shards: &[Shard],
    channel: &ChannelName,
    request: Target,
) -> Result<()> {
    let Names::Native(topics) = &engine.names else { return Ok(()) };
    let Some(owner) = owner_of(channel).filter(|owner| *owner != engine.process) else { return Ok(()) };
    let number = engine.next_number();
    let done = engine.requests.add(number, ());
    let envelope = engine.envelope(number, &request, None)?;
    let reached = engine.shard(shards, owner).publish(&topics.process(owner), &envelope).await?;
    // The owner may have to subscribe first.
    let limit = engine.call_timeout() * 2;
    match reached {
        Some(0) => Ok(()),
        Some(_) => done.wait(limit).await.ok_or(Error::TimedOut(limit)),
        // The bus does not report whether the owner exists: no answer means that it does not.
        None => done.wait(engine.call_timeout()).await.map_or(Ok(()), Ok),
    }
}

/// Adds a channel of this process to a group, for another process.
pub(super) fn add(engine: &Arc<Engine>, header: &Header, channel: ChannelName, group: GroupName) {
    let (engine, header) = (engine.clone(), *header);
    // Both the caller and this task have a deadline, so there are never many of them.
    tokio::spawn(async move {
        let Some(shards) = engine.shards() else { return };
        // A closed mailbox needs no subscription.
        if !engine.hub.contains(&channel) || engine.join(&shards, &group, &channel).await.is_ok() {
            answer(&engine, &shards, &header).await;
        }
    });
}

/// Takes a channel, which may be one of this process, out of a group or out of all groups, for another process.
pub(super) fn discard(
    engine: &Arc<Engine>,
    header: &Header,
    channel: &ChannelName,
    group: Option<&GroupName>,
) {
    if header.publisher == engine.node {
        return; // done before it was published, and the channel may have come back since
    }
    match group {
        Some(group) => engine.hub.leave(group, channel),
        None => engine.hub.leave_groups_of(channel),
    }
    if !channel.is_process_local() {
        return; // sent to every process, without an answer
    }
    let (engine, header) = (engine.clone(), *header);
    tokio::spawn(async move {
        if let Some(shards) = engine.shards() {
            answer(&engine, &shards, &header).await;
        }
    });
}

async fn answer(engine: &Engine, shards: &[Shard], request: &Header) {
    let Names::Native(topics) = &engine.names else { return };
    let asker = format!("{:016x}", request.publisher);
    let Ok(envelope) = engine.envelope(request.number, &Target::Done, None) else { return };
    let answered: Result<_, LinkError> =
        engine.shard(shards, &asker).publish(&topics.process(&asker), &envelope).await;
    if let Err(error) = answered {
        tracing::debug!(%error, "could not answer a request");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_owner_from_the_name() {
        let owner = |name: &str| owner_of(&name.parse().unwrap()).map(str::to_owned);
        assert_eq!(owner("a.b.00000000000000ff!x"), Some("00000000000000ff".to_owned()));
        for other in ["thumbnails", "specific.memory!x", "00ff!x", "specific.00000000000000fg!x"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
