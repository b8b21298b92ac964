//! The links of this mode: required commands, restoration and probes. Messages are taken by the queue reader.

use std::sync::{Arc, LazyLock};

use channel_layer::{
    GroupName,
    backbone::{Probe, Queues, ShardHandler, Stamp},
};

use super::{groups, named::SortedSetQueues, state::CoreState};
use crate::{
    format::shard_of,
    link::{
        CommandConnection, LinkMode, Restoration,
        client::{Command, Script},
    },
};

static NEEDED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("needed.lua")));

#[derive(Debug)]
pub(super) struct CoreMode {
    pub(super) state: Arc<CoreState>,
    /// The index of the host.
    pub(super) at: usize,
}

impl LinkMode for CoreMode {
    /// The commands of this mode, on a key that does not exist.
    fn needed(&self) -> Vec<(&'static str, Command)> {
        let key = self.state.keys.messages(&self.state.client);
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

    fn queues(&self, commands: &Arc<CommandConnection>) -> Option<Box<dyn Queues>> {
        Some(Box::new(SortedSetQueues { state: self.state.clone(), at: self.at, commands: commands.clone() }))
    }

    fn restore(&self, all: bool) -> Option<Restoration> {
        let (state, hosts) = (self.state.clone(), self.state.inboxes.len());
        let is_here = |group: &GroupName| shard_of(group.as_str(), hosts) == self.at;
        if all {
            state.memberships.end_closed(&state.hub);
            state.memberships.mark_all_pending(is_here);
        }
        let (wanted, removals) = (state.memberships.pending(is_here), state.memberships.removals(is_here));
        if wanted.is_empty() && removals.is_empty() {
            return None;
        }
        let commands = groups::commands(&state, &wanted, &removals);
        let done = Box::new(move || {
            state.memberships.mark_removed(&removals);
            state.memberships.mark_written(&wanted);
        });
        Some(Restoration { commands, done })
    }
}

impl ShardHandler for CoreMode {
    fn process_topics(&self) -> Vec<String> {
        vec![self.state.probes.channel().to_owned()]
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
        topic.is_none().then(|| self.state.probes.probe())
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn received(&self, _: &str, payload: &[u8]) {
        self.state.probes.received(payload);
    }
}
