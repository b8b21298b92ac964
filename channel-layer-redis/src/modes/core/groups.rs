//! Groups in Redis, and the commands that change them.

use std::sync::LazyLock;

use channel_layer::{ChannelName, GroupName, Result};
use futures_util::future::{join_all, try_join_all};

use super::{
    clock::score_before,
    hosts::{CoreInner, Host},
    memberships::Membership,
    state::CoreState,
};
use crate::{
    error::CallError,
    link::client::{Command, Reply, Script},
};

static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("add.lua")));
static LOST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lost.lua")));
static MEMBERS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("members.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));

/// The most concurrent commands.
pub(super) const CHUNK: usize = 500;

/// The number of attempts to write a membership while connections come and go.
const ATTEMPTS: usize = 3;

impl CoreInner {
    /// Adds a mailbox of this process to a group, in the hub and in Redis. In an outage, the membership is written later.
    pub(super) async fn join(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        let (CoreState { hub, memberships, .. }, shard) = (&*self.state, &self.host_of(group).shard);
        if !hub.join(group, channel) {
            return Ok(()); // a closed mailbox of this process
        }
        // Before Redis: if the mailbox is dropped meanwhile, the membership is removed again.
        let is_new = memberships.add(group, channel);
        for _ in 0..ATTEMPTS {
            let error = match self.add(group, channel).await {
                Ok(()) => {
                    memberships.mark_written(&[(group.clone(), channel.clone())]);
                    return Ok(());
                }
                Err(error) => error,
            };
            if !(error.is_outage() && shard.is_known()) {
                if is_new {
                    memberships.remove(group, channel);
                    hub.leave(group, channel);
                }
                return Err(error.into());
            }
            memberships.mark_pending(group, channel, !error.is_unsent());
            // Read after it was marked: a link that came up meanwhile has either written it, or is noticed here.
            if !shard.is_up() {
                break;
            }
        }
        Ok(())
    }

    /// Removes a mailbox of this process from a group. In an outage, Redis is updated later.
    pub(super) async fn leave(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.state.hub.leave(group, channel);
        self.state.memberships.remove(group, channel);
        match self.remove(group, channel).await {
            Err(error) if error.is_outage() && self.host_of(group).shard.is_known() => {
                self.state.memberships.remove_later(group, channel);
                Ok(())
            }
            removed => Ok(removed?),
        }
    }

    /// Adds a channel to a group, or renews its membership.
    pub(super) async fn add(&self, group: &GroupName, channel: &ChannelName) -> Result<(), CallError> {
        self.write(&ADD, group, channel).await
    }

    /// Renews a membership that still exists.
    pub(super) async fn renew(&self, (group, channel): &Membership) -> Result<(), CallError> {
        self.write(&RENEW, group, channel).await
    }

    /// Removes a channel from a group.
    pub(super) async fn remove(&self, group: &GroupName, channel: &ChannelName) -> Result<(), CallError> {
        self.host_of(group).call(removal(&self.state, group, channel)).await.map(drop)
    }

    /// Takes a channel out of all groups, whichever process has added it: only the groups know their members.
    pub(super) async fn remove_from_all(&self, channel: &ChannelName) -> Result<(), CallError> {
        let remove = |key: &[u8]| Command::new("ZREM").arg(key).arg(channel.as_str());
        let groups = self.state.keys.groups();
        let hosts = self.hosts.iter().map(async |host| {
            let commands = host.commands()?;
            commands.for_keys(&groups, |keys| keys.into_iter().map(remove).collect()).await
        });
        try_join_all(hosts).await.map(drop)
    }

    /// Removes all mailboxes of this process from their groups. Memberships that cannot be removed expire.
    pub(super) async fn leave_all(&self) {
        for chunk in self.state.memberships.take_all().chunks(CHUNK) {
            join_all(chunk.iter().map(|(group, channel)| self.remove(group, channel))).await;
        }
    }

    /// The channels in a group, in all processes.
    pub(super) async fn members(&self, group: &GroupName) -> Result<Vec<ChannelName>, CallError> {
        let CoreState { config, counters, keys, .. } = &*self.state;
        let expired = score_before(config.hub.layer.group_expiry);
        let reply = self.host_of(group).run(&MEMBERS, &[keys.group(group)], &[expired.as_bytes()]).await?;
        let members = reply.read("a script", counters, Reply::list)?;
        let name = |member: &Reply| {
            let name = member.text().and_then(|name| name.parse().ok());
            if name.is_none() {
                counters.note_unreadable("a member of a group", "not the name of a channel");
            }
            name
        };
        Ok(members.iter().filter_map(name).collect())
    }

    async fn write(
        &self,
        script: &Script,
        group: &GroupName,
        channel: &ChannelName,
    ) -> Result<(), CallError> {
        let CoreState { config, clock, keys, .. } = &*self.state;
        let (score, lifetime) = (clock.score(), config.hub.layer.group_expiry.as_millis().to_string());
        let arguments = [&score, &*lifetime, channel.as_str()].map(str::as_bytes);
        self.host_of(group).run(script, &[keys.group(group)], &arguments).await.map(drop)
    }
}

impl Host {
    /// Returns the indices of the groups that have none of these members.
    pub(super) async fn lost_groups(
        &self,
        state: &CoreState,
        groups: &[(GroupName, Vec<ChannelName>)],
    ) -> Result<Vec<usize>, CallError> {
        let keys: Vec<_> = groups.iter().map(|(group, _)| state.keys.group(group)).collect();
        let counts: Vec<_> = groups.iter().map(|(_, members)| members.len().to_string()).collect();
        let mut arguments = Vec::new();
        for ((_, members), count) in groups.iter().zip(&counts) {
            arguments.push(count.as_bytes());
            arguments.extend(members.iter().map(|member| member.as_str().as_bytes()));
        }
        let reply = self.run(&LOST, &keys, &arguments).await?;
        let indices = reply.read("a script", &state.counters, Reply::list)?;
        Ok(indices.iter().filter_map(|at| usize::try_from(at.integer()?.checked_sub(1)?).ok()).collect())
    }
}

/// The commands that write and remove memberships. Without scripts, which a new server does not know.
pub(super) fn commands(state: &CoreState, written: &[Membership], removed: &[Membership]) -> Vec<Command> {
    let lifetime = state.config.hub.layer.group_expiry.as_millis().to_string();
    let write = |(group, channel): &Membership| {
        let key = state.keys.group(group);
        let add = Command::new("ZADD").arg(&key).arg(state.clock.score()).arg(channel.as_str());
        [add, Command::new("PEXPIRE").arg(key).arg(&lifetime)]
    };
    let removal_of = |(group, channel): &Membership| removal(state, group, channel);
    written.iter().flat_map(write).chain(removed.iter().map(removal_of)).collect()
}

fn removal(state: &CoreState, group: &GroupName, channel: &ChannelName) -> Command {
    Command::new("ZREM").arg(state.keys.group(group)).arg(channel.as_str())
}
