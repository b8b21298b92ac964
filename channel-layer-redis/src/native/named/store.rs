//! Named channels in Redis: each a list of messages, every one behind the time it expires at, in milliseconds
//! of the server's own clock.

use std::sync::LazyLock;

use channel_layer::{ChannelName, Error, Message, Result};

use super::{
    super::bus::{Bus, link_of},
    desk::Kept,
};
use crate::{
    error::Fault,
    link::client::{Command, Commands, Connection, Reply, Script},
    stats::Count,
    supervisor::Link,
};

/// How long one process remains the one that forwards a group's messages to a named channel. Any process that
/// added the channel may take over then.
const LEASE_MILLISECONDS: i64 = 5000;

/// How long only those may take over who have seen the farewell of the one before: all others could be behind it, and
/// forward what it has forwarded.
const HANDOVER_MILLISECONDS: i64 = 1000;

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("push.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua")));
static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../../modes/native/take.lua")));
static RETURN: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("../../modes/native/return.lua")));

/// A message as it stands in its list, and as it goes back there if nobody wants it.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Stored(pub(super) Vec<u8>);

/// Who may add a message: everybody, or the process that forwards from groups.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum As<'a> {
    /// It has seen the farewells of these nodes, in one text.
    Forwarder {
        past: &'a str,
    },
    Sender,
}

/// Adds a message to a named channel.
pub(in super::super) async fn push(
    bus: &Bus,
    links: &[Link],
    channel: &ChannelName,
    message: &Message,
    role: As<'_>,
) -> Result<()> {
    let body = message.to_bytes()?;
    bus.check_size(body.len())?;
    let keys = [bus.keys.queue(channel), bus.keys.lease(channel)];
    let layer = &bus.config.layer;
    let lifetime = layer.expiry.as_millis().to_string();
    let capacity = layer.capacity_of(channel).max(1).to_string();
    let (lease, past) = match role {
        As::Forwarder { past } => (LEASE_MILLISECONDS.to_string(), past),
        As::Sender => ("0".to_owned(), ""),
    };
    let (lifetime, capacity, node) = (lifetime.as_bytes(), capacity.as_bytes(), bus.node_name.as_bytes());
    let arguments = [&body, lifetime, capacity, node, lease.as_bytes(), past.as_bytes()];
    let pushed = run(link_of(links, channel.as_str()), &PUSH, &keys, &arguments).await;
    let reply = pushed.inspect_err(|_| bus.counters.one(Count::PublishFailed))?;
    match reply.read("a script", &bus.counters, Reply::integer)? {
        0 => return Err(Error::ChannelFull { channel: channel.to_string() }),
        1 => bus.counters.one(Count::Published),
        _ => {} // another process forwards
    }
    Ok(())
}

/// Gives up the lease on a named channel, if it is ours: nothing is forwarded any more.
pub(super) async fn release(bus: &Bus, links: &[Link], channel: &ChannelName) -> Result<(), Fault> {
    let (keys, handover) = ([bus.keys.lease(channel)], HANDOVER_MILLISECONDS.to_string());
    let arguments = [bus.node_name.as_bytes(), handover.as_bytes()];
    run(link_of(links, channel.as_str()), &RELEASE, &keys, &arguments).await.map(drop)
}

/// Takes up to so many messages that have not expired, from each of these channels. One that is refused, say because
/// its key holds something else, takes nothing from the others.
pub(super) async fn take(
    bus: &Bus,
    connection: &Connection,
    wanted: &[(ChannelName, usize)],
) -> Result<Vec<Result<Vec<Stored>, Fault>>, Fault> {
    let commands = |make: fn(&Script, &[String], &[&[u8]]) -> Command| {
        let command = |(channel, count): &(ChannelName, usize)| {
            make(&TAKE, &[bus.keys.queue(channel)], &[count.to_string().as_bytes()])
        };
        wanted.iter().map(command).collect::<Commands>()
    };
    let limit = bus.config.timeout;
    let mut replies: Vec<_> = connection.call_all(commands(Script::by_hash), limit).await?.collect();
    if replies.iter().any(is_unknown_script) {
        replies = connection.call_all(commands(Script::by_text), limit).await?.collect();
    }
    Ok(replies.into_iter().map(|reply| reply.and_then(|reply| stored(bus, &reply))).collect())
}

/// Puts messages back where they were taken from.
pub(super) async fn give_back(
    bus: &Bus,
    links: &[Link],
    channel: &ChannelName,
    messages: &[Stored],
) -> Result<(), Fault> {
    let lifetime = bus.config.layer.expiry.as_millis().to_string();
    let mut arguments = vec![lifetime.as_bytes()];
    // The script puts one before the other, so the last goes first.
    arguments.extend(messages.iter().rev().map(|message| message.0.as_slice()));
    let keys = [bus.keys.queue(channel)];
    run(link_of(links, channel.as_str()), &RETURN, &keys, &arguments).await.map(drop)
}

/// Deletes all named channels of a link.
pub(in super::super) async fn clear(bus: &Bus, link: &Link) -> Result<(), Fault> {
    let mut cursor = "0".to_owned();
    loop {
        let pattern = bus.keys.queue_pattern();
        let scan = Command::new("SCAN").arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
        let reply = link.call(scan).await?;
        let (next, keys) = reply.read("SCAN", &bus.counters, Reply::page)?;
        if !keys.is_empty() {
            link.call(Command::new("UNLINK").arg(keys)).await?;
        }
        if next == "0" {
            return Ok(());
        }
        cursor = next;
    }
}

impl Kept for Stored {
    /// The message, without the time it expires at.
    fn message(&self) -> Option<Message> {
        let colon = self.0.iter().take(20).position(|byte| *byte == b':')?;
        Message::from_bytes(&self.0[colon + 1..]).ok()
    }
}

async fn run(link: &Link, script: &Script, keys: &[String], arguments: &[&[u8]]) -> Result<Reply, Fault> {
    let reply = link.call(script.by_hash(keys, arguments)).await;
    if is_unknown_script(&reply) {
        return link.call(script.by_text(keys, arguments)).await;
    }
    reply
}

/// The server was restarted and has forgotten the script. Nothing was done, so it is safe to say it again.
fn is_unknown_script(reply: &Result<Reply, Fault>) -> bool {
    matches!(reply, Err(Fault::Refused { code, .. }) if code == "NOSCRIPT")
}

fn stored(bus: &Bus, reply: &Reply) -> Result<Vec<Stored>, Fault> {
    let stored = |item: &Reply| {
        item.read("a script", &bus.counters, Reply::bytes).ok().map(|bytes| Stored(bytes.to_vec()))
    };
    let items = reply.read("a script", &bus.counters, Reply::list)?;
    Ok(items.iter().filter_map(stored).collect())
}
