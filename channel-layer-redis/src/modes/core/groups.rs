//! Groups in Redis: their keys, and the commands that change them.

use std::sync::LazyLock;

use channel_layer::{ChannelName, GroupName, Result};
use futures_util::future::join_all;

use super::{
    bus::{Bus, run},
    memberships::Membership,
};
use crate::{
    error::Fault,
    link::client::{Command, Reply, Script},
    ring::host_of,
    supervisor::Link,
};

static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("add.lua")));
static LOST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lost.lua")));
static MEMBERS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("members.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));

/// Commands under way at once.
pub(super) const CHUNK: usize = 500;

/// The number of attempts to write a membership while connections come and go.
const ATTEMPTS: usize = 3;

/// Adds a mailbox of this process to a group, here and in Redis. In an outage it is wanted from then on.
pub(super) async fn join(bus: &Bus, links: &[Link], group: &GroupName, channel: &ChannelName) -> Result<()> {
    if !bus.hub.join(group, channel) {
        return Ok(()); // a closed mailbox of ours
    }
    // First here: should it be dropped meanwhile, it is taken out again.
    let is_new = bus.memberships.add(group, channel);
    let link = link_of(links, group);
    for _ in 0..ATTEMPTS {
        let fault = match add(bus, links, group, channel).await {
            Ok(()) => {
                bus.memberships.written(&[(group.clone(), channel.clone())]);
                return Ok(());
            }
            Err(fault) => fault,
        };
        if !(fault.is_outage() && link.is_known()) {
            if is_new {
                bus.memberships.remove(group, channel);
                bus.hub.leave(group, channel);
            }
            return Err(fault.into());
        }
        bus.memberships.want(group, channel, !fault.is_unsent());
        // Looked at after it was wanted: a session that has come up since has either seen it, or is seen here.
        if !link.is_up() {
            break;
        }
    }
    Ok(())
}

/// Takes a mailbox of this process out of a group. In an outage, Redis is told when it is over.
pub(super) async fn leave(bus: &Bus, links: &[Link], group: &GroupName, channel: &ChannelName) -> Result<()> {
    bus.hub.leave(group, channel);
    bus.memberships.remove(group, channel);
    let link = link_of(links, group);
    match remove(bus, links, group, channel).await {
        Err(fault) if fault.is_outage() && link.is_known() => {
            bus.memberships.leave_later(group, channel);
            Ok(())
        }
        removed => Ok(removed?),
    }
}

/// Adds a channel to a group, or renews its membership.
pub(super) async fn add(
    bus: &Bus,
    links: &[Link],
    group: &GroupName,
    channel: &ChannelName,
) -> Result<(), Fault> {
    write(bus, links, &ADD, group, channel).await
}

/// Renews a membership that is still there.
pub(super) async fn renew(bus: &Bus, links: &[Link], (group, channel): &Membership) -> Result<(), Fault> {
    write(bus, links, &RENEW, group, channel).await
}

/// Takes a channel out of a group.
pub(super) async fn remove(
    bus: &Bus,
    links: &[Link],
    group: &GroupName,
    channel: &ChannelName,
) -> Result<(), Fault> {
    link_of(links, group).call(removal(bus, group, channel)).await.map(drop)
}

/// Takes all mailboxes of this process out of their groups. What fails stays until it expires.
pub(super) async fn leave_all(bus: &Bus, links: &[Link]) {
    for chunk in bus.memberships.take_all().chunks(CHUNK) {
        join_all(chunk.iter().map(|(group, channel)| remove(bus, links, group, channel))).await;
    }
}

/// The channels in a group, in all processes.
pub(super) async fn members(bus: &Bus, links: &[Link], group: &GroupName) -> Result<Vec<ChannelName>, Fault> {
    let expired = super::clock::score_before(bus.config.layer.group_expiry);
    let reply = run(link_of(links, group), &MEMBERS, &[bus.keys.group(group)], &[expired.as_bytes()]).await?;
    let members = reply.read("a script", &bus.counters, Reply::list)?;
    let name = |member: &Reply| {
        let name = member.text().and_then(|name| name.parse().ok());
        if name.is_none() {
            bus.counters.note_unreadable("a member of a group", "not the name of a channel");
        }
        name
    };
    Ok(members.iter().filter_map(name).collect())
}

/// Returns the indices of the groups that have none of the members given with them.
pub(super) async fn without_any(
    bus: &Bus,
    link: &Link,
    groups: &[(GroupName, Vec<ChannelName>)],
) -> Result<Vec<usize>, Fault> {
    let keys: Vec<_> = groups.iter().map(|(group, _)| bus.keys.group(group)).collect();
    let counts: Vec<_> = groups.iter().map(|(_, members)| members.len().to_string()).collect();
    let mut arguments = Vec::new();
    for ((_, members), count) in groups.iter().zip(&counts) {
        arguments.push(count.as_bytes());
        arguments.extend(members.iter().map(|member| member.as_str().as_bytes()));
    }
    let reply = run(link, &LOST, &keys, &arguments).await?;
    let places = reply.read("a script", &bus.counters, Reply::list)?;
    Ok(places.iter().filter_map(|at| usize::try_from(at.integer()?.checked_sub(1)?).ok()).collect())
}

/// The commands that write memberships and end others, without scripts: a new server does not know them yet.
pub(super) fn commands(bus: &Bus, written: &[Membership], left: &[Membership]) -> Vec<Command> {
    let lifetime = bus.config.layer.group_expiry.as_millis().to_string();
    let write = |(group, channel): &Membership| {
        let key = bus.keys.group(group);
        let add = Command::new("ZADD").arg(&key).arg(bus.clock.score()).arg(channel.as_str());
        [add, Command::new("PEXPIRE").arg(key).arg(&lifetime)]
    };
    let end = |(group, channel): &Membership| removal(bus, group, channel);
    written.iter().flat_map(write).chain(left.iter().map(end)).collect()
}

pub(super) fn link_of<'a>(links: &'a [Link], group: &GroupName) -> &'a Link {
    &links[host_of(group.as_str(), links.len())]
}

fn removal(bus: &Bus, group: &GroupName, channel: &ChannelName) -> Command {
    Command::new("ZREM").arg(bus.keys.group(group)).arg(channel.as_str())
}

async fn write(
    bus: &Bus,
    links: &[Link],
    script: &Script,
    group: &GroupName,
    channel: &ChannelName,
) -> Result<(), Fault> {
    let lifetime = bus.config.layer.group_expiry.as_millis().to_string();
    let score = bus.clock.score();
    let arguments = [score.as_bytes(), lifetime.as_bytes(), channel.as_str().as_bytes()];
    run(link_of(links, group), script, &[bus.keys.group(group)], &arguments).await.map(drop)
}
