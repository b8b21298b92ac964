//! The side of a host that faces its links: what a new one needs, and what comes in. Messages are taken by the reader.

use std::sync::{Arc, LazyLock};

use channel_layer::{
    GroupName,
    backbone::{Probe, Queues, ShardHandler, Stamp},
};

use super::{groups, named::Sets, state::Bus};
use crate::{
    format::shard_of,
    link::{
        Connections, LinkMode, Restoration,
        client::{Command, Script},
    },
};

static NEEDED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("needed.lua")));

#[derive(Debug)]
pub(super) struct Handler {
    pub(super) bus: Arc<Bus>,
    /// The index of the host.
    pub(super) at: usize,
}

impl LinkMode for Handler {
    /// Returns the commands of this mode, on a key that does not exist.
    fn needed(&self) -> Vec<(&'static str, Command)> {
        let key = self.bus.keys.messages(&self.bus.client);
        let on = |name: &'static str, arguments: &[&str]| (name, Command::new(name).arg(&key).arg(arguments));
        let script = |make: fn(&Script, &[String], &[&[u8]]) -> Command| {
            make(&NEEDED, std::slice::from_ref(&key), &[])
        };
        vec![
            on("ZADD", &["XX", "0", "x"]),
            on("ZREM", &["x"]),
            on("PEXPIRE", &["1"]),
            on("ZPOPMIN", &["1"]),
            on("BZPOPMIN", &["0.001"]),
            ("EVAL (with ZCARD, ZRANGE, ZREMRANGEBYSCORE, ZSCORE and PTTL)", script(Script::by_text)),
            ("EVALSHA", script(Script::by_hash)),
        ]
    }

    fn queues(&self, connections: &Arc<Connections>) -> Option<Box<dyn Queues>> {
        Some(Box::new(Sets { bus: self.bus.clone(), at: self.at, connections: connections.clone() }))
    }

    fn restore(&self, all: bool) -> Option<Restoration> {
        let (bus, hosts) = (self.bus.clone(), self.bus.inboxes.len());
        let is_here = |group: &GroupName| shard_of(group.as_str(), hosts) == self.at;
        if all {
            bus.memberships.end_dead(&bus.hub);
            bus.memberships.want_all(is_here);
        }
        let (wanted, leaving) = (bus.memberships.wanted(is_here), bus.memberships.leaving(is_here));
        if wanted.is_empty() && leaving.is_empty() {
            return None;
        }
        let commands = groups::commands(&bus, &wanted, &leaving);
        let done = Box::new(move || {
            bus.memberships.left(&leaving);
            bus.memberships.written(&wanted);
        });
        Some(Restoration { commands, done })
    }
}

impl ShardHandler for Handler {
    fn own_topics(&self) -> Vec<String> {
        vec![self.bus.probes.channel().to_owned()]
    }

    fn is_unused(&self, _: &str) -> bool {
        true
    }

    fn is_shared(&self, _: &str) -> bool {
        false
    }

    fn begins(&self, _: &str) {}

    fn resumes(&self) {}

    fn probe(&self, topic: Option<&str>) -> Option<Probe> {
        topic.is_none().then(|| self.bus.probes.probe())
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn received(&self, _: &str, payload: &[u8]) {
        self.bus.probes.received(payload);
    }
}
