//! Requests between processes: a channel joins a group in the process that holds its mailbox.

use std::sync::Arc;

use channel_layer::{ChannelName, Error, GroupName, Result};

use super::bus::{Bus, link_of};
use crate::{
    codec::{Header, Target},
    error::Fault,
    supervisor::Link,
};

/// The process that holds the mailbox of this channel, by the name that ends with it.
pub(super) fn owner_of(channel: &ChannelName) -> Option<&str> {
    let head = channel.non_local().strip_suffix('!')?;
    let node = head.rsplit('.').next()?;
    (node.len() == 16 && node.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(node)
}

/// Has the owner of a channel do something, and waits until it is done. A channel whose owner is gone, or that
/// has none, is fine.
pub(super) async fn ask(bus: &Bus, links: &[Link], channel: &ChannelName, request: Target) -> Result<()> {
    let Some(owner) = owner_of(channel).filter(|owner| *owner != bus.node_name) else { return Ok(()) };
    let number = bus.next_number();
    let done = bus.asked.expect(number, ());
    let envelope = bus.envelope(number, &request, None)?;
    let reached = link_of(links, owner).publish(bus.keys.node(owner), envelope).await?;
    if reached == 0 {
        return Ok(());
    }
    // There it may have to subscribe first.
    let limit = bus.patience() * 2;
    done.wait(limit).await.ok_or(Error::TimedOut(limit))
}

/// Another process wants a channel of ours in a group.
pub(super) fn add(bus: &Arc<Bus>, header: &Header, channel: ChannelName, group: GroupName) {
    let (bus, header) = (bus.clone(), *header);
    // Who asks waits and gives up by itself, and so does this: there are never many.
    tokio::spawn(async move {
        let Some(links) = bus.links() else { return };
        // One that is closed needs no subscription.
        if !bus.hub.contains(&channel) || join(&bus, &links, &group, &channel).await.is_ok() {
            answer(&bus, &links, &header).await;
        }
    });
}

/// Another process wants a channel, which may be one of ours, out of a group.
pub(super) fn discard(bus: &Arc<Bus>, header: &Header, channel: &ChannelName, group: &GroupName) {
    if header.publisher == bus.node {
        return; // carried out before it was sent, and the channel may have come back since
    }
    bus.hub.leave(group, channel);
    if !channel.is_process_local() {
        return; // told to all, who do not answer
    }
    let (bus, header) = (bus.clone(), *header);
    tokio::spawn(async move {
        if let Some(links) = bus.links() {
            answer(&bus, &links, &header).await;
        }
    });
}

/// Adds a mailbox of ours to a group, once the group's messages come in. False if it was closed meanwhile.
pub(super) async fn join(
    bus: &Bus,
    links: &[Link],
    group: &GroupName,
    channel: &ChannelName,
) -> Result<bool, Fault> {
    let mut joined = false;
    let join = || {
        joined = bus.hub.join(group, channel);
        joined
    };
    link_of(links, group.as_str()).join(&bus.keys.group(group), join).await?;
    Ok(joined)
}

async fn answer(bus: &Bus, links: &[Link], request: &Header) {
    let owner = format!("{:016x}", request.publisher);
    let Ok(envelope) = bus.envelope(request.number, &Target::Done, None) else { return };
    if let Err(fault) = link_of(links, &owner).publish(bus.keys.node(&owner), envelope).await {
        tracing::debug!(%fault, "could not answer a request");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_from_the_name() {
        let owner = |name: &str| owner_of(&name.parse().unwrap()).map(str::to_owned);
        assert_eq!(owner("a.b.00000000000000ff!x"), Some("00000000000000ff".to_owned()));
        for other in ["thumbnails", "specific.memory!x", "00ff!x", "specific.00000000000000fg!x"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
