//! The reconciliation of the groups in Redis with the memberships of this process: a task renews memberships while their
//! mailboxes exist, restores those that Redis has lost, and removes those of dropped mailboxes.
//!
//! # Losses and removals
//! A membership that another process has removed is not restored. A group counts as lost if it has no member of this process
//! and the statistics of the server show a deletion since the last check. Without access to the statistics, every group
//! without a member of this process counts as lost.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, MutexGuard, Weak},
    time::Duration,
};

use channel_layer::{ChannelName, GroupName, LayerEvent};
use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::{
    groups::CHUNK,
    hosts::{CoreInner, Host},
    memberships::Membership,
    state::CoreState,
};
use crate::{error::CallError, format::shard_of, link::client::Command, stats::Count, sync::lock};

/// The interval of searches for dropped mailboxes, in addition to those when a group loses its last member.
const SWEEP: Duration = Duration::from_secs(1);
/// The longest interval between renewals of memberships; shorter if they expire sooner.
const RENEWAL: Duration = Duration::from_secs(3600);
/// The members of a group that are searched for. A group with one of them is not lost.
const SAMPLE: usize = 8;
/// Commands that delete keys of any type. `ZREM`, which may empty a group, is not counted.
const DELETING: [&str; 9] =
    ["del", "flushall", "flushdb", "migrate", "move", "rename", "renamenx", "swapdb", "unlink"];

/// Reconciles until the layer is dropped.
pub(super) async fn run(state: Arc<CoreState>, inner: Weak<CoreInner>) {
    let config = state.config.clone();
    let mut renewal = interval((config.hub.layer.group_expiry / 4).clamp(Duration::from_millis(10), RENEWAL));
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The time at which each host was last known to have all memberships.
    let mut confirmed = vec![Instant::now(); config.hosts.len()];
    let (mut next_check, mut next_suspicion) = (Instant::now() + config.hub.probe, Instant::now());
    loop {
        let (mut is_renewal, mut is_check) = (false, false);
        tokio::select! {
            () = state.changed.notified() => {}
            () = sleep(SWEEP) => {}
            _ = renewal.tick() => is_renewal = true,
            () = sleep_until(next_check) => is_check = true,
            () = state.suspicion.notified(), if next_suspicion <= Instant::now() => is_check = true,
        }
        let Some(inner) = inner.upgrade() else { return };
        state.memberships.end_closed(&state.hub);
        inner.write_pending().await;
        if is_renewal {
            inner.renew_all().await;
        }
        if is_check {
            inner.check_hosts(&mut confirmed).await;
            next_check = Instant::now() + config.hub.probe;
            next_suspicion = Instant::now() + SWEEP;
        }
    }
}

impl CoreInner {
    /// Writes pending changes to Redis. Failures are retried with the next sweep: Redis may be out of memory while the
    /// connection works.
    async fn write_pending(&self) {
        let is_up = |group: &GroupName| self.host_of(group).shard.is_up();
        for chunk in self.state.memberships.removals(is_up).chunks(CHUNK) {
            let remove = |(group, channel): &Membership| {
                let (group, channel) = (group.clone(), channel.clone());
                async move { self.remove(&group, &channel).await }
            };
            let outcomes = join_all(chunk.iter().map(remove)).await;
            self.state.memberships.mark_removed(&successes(chunk, &outcomes));
        }
        for chunk in self.state.memberships.pending(is_up).chunks(CHUNK) {
            let add = |(group, channel): &Membership| {
                let (group, channel) = (group.clone(), channel.clone());
                async move { self.add(&group, &channel).await }
            };
            let outcomes = join_all(chunk.iter().map(add)).await;
            self.state.memberships.mark_written(&successes(chunk, &outcomes));
            if let Some(Err(error)) = outcomes.iter().find(|outcome| outcome.is_err()) {
                self.state
                    .counters
                    .warn("memberships of this process cannot be written to Redis", &error.clone().into());
                return;
            }
        }
    }

    async fn renew_all(&self) {
        for chunk in self.state.memberships.written().chunks(CHUNK) {
            let outcomes = join_all(chunk.iter().map(|membership| self.renew(membership))).await;
            if let Some(Err(error)) = outcomes.iter().find(|outcome| outcome.is_err()) {
                self.state
                    .counters
                    .warn("memberships of this process cannot be renewed", &error.clone().into());
                return;
            }
        }
    }

    /// Checks that Redis still has the written memberships.
    async fn check_hosts(&self, confirmed: &mut [Instant]) {
        for (at, confirmed) in confirmed.iter_mut().enumerate() {
            let began = Instant::now();
            match self.check_host(at, *confirmed).await {
                Ok(()) => *confirmed = began,
                // The engine reports the outage. The next connection restores all memberships, and the check is repeated.
                Err(error) => tracing::debug!(%error, "could not check memberships"),
            }
        }
    }

    async fn check_host(&self, at: usize, confirmed: Instant) -> Result<(), CallError> {
        let host = &self.hosts[at];
        let deletions = read_deletions(host).await?;
        if deletions.is_some() && deletions == self.deletions()[at] {
            return Ok(());
        }
        let groups = self.groups_at(at);
        let mut lost = HashSet::new();
        for chunk in groups.chunks(CHUNK) {
            for at in host.lost_groups(&self.state, chunk).await? {
                // Members that have left meanwhile are rightly missing.
                let is_current = |(group, members): &&(GroupName, Vec<ChannelName>)| {
                    members
                        .iter()
                        .all(|member| self.state.memberships.is_written(&(group.clone(), member.clone())))
                };
                lost.extend(chunk.get(at).filter(is_current).map(|(group, _)| group.clone()));
            }
        }
        if !lost.is_empty() {
            self.restore_lost(&lost, confirmed).await;
        }
        self.deletions()[at] = deletions;
        Ok(())
    }

    /// Records the deletion counters of all hosts, to compare later ones with.
    pub(super) async fn record_deletions(&self) {
        for (at, host) in self.hosts.iter().enumerate() {
            let deletions = read_deletions(host).await.unwrap_or_default(); // then the first check decides
            self.deletions()[at] = deletions;
        }
    }

    fn deletions(&self) -> MutexGuard<'_, Vec<Option<String>>> {
        lock(&self.deletions)
    }

    async fn restore_lost(&self, lost: &HashSet<GroupName>, confirmed: Instant) {
        self.state.memberships.mark_all_pending(|group| lost.contains(group));
        self.write_pending().await;
        let gap = confirmed.elapsed();
        tracing::warn!(
            groups = lost.len(),
            ?gap,
            "Redis had lost groups of this process, and messages to them"
        );
        self.state.counters.add(Count::GroupsLost, lost.len() as u64);
        self.state.counters.add(Count::GapMilliseconds, u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
        self.state.events.raise(LayerEvent::Reconnected { gap });
    }

    /// The written groups of one host, with some of their members.
    fn groups_at(&self, at: usize) -> Vec<(GroupName, Vec<ChannelName>)> {
        let mut groups = HashMap::<GroupName, Vec<ChannelName>>::new();
        let all = self.state.memberships.written();
        for (group, channel) in
            all.into_iter().filter(|(group, _)| shard_of(group.as_str(), self.hosts.len()) == at)
        {
            let members = groups.entry(group).or_default();
            if members.len() < SAMPLE {
                members.push(channel);
            }
        }
        groups.into_iter().collect()
    }
}

fn successes(memberships: &[Membership], outcomes: &[Result<(), CallError>]) -> Vec<Membership> {
    let done = memberships.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok());
    done.map(|(membership, _)| membership.clone()).collect()
}

/// Returns the deletion counters of the server as a text that changes with them, or `None` if the server does not report
/// them.
async fn read_deletions(host: &Host) -> Result<Option<String>, CallError> {
    let mut text = String::new();
    for section in ["stats", "commandstats"] {
        match host.call(Command::new("INFO").arg(section)).await {
            Ok(reply) => text.extend(reply.text()),
            Err(CallError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(parse_deletions(&text))
}

fn parse_deletions(info: &str) -> Option<String> {
    let mut found = String::new();
    let mut has_commands = false;
    for line in info.lines() {
        has_commands |= line.starts_with("cmdstat_");
        let is_deleting = |name: &str| DELETING.contains(&name) || name == "evicted_keys";
        let (name, value) = line.split_once(':').unwrap_or_default();
        if is_deleting(name.strip_prefix("cmdstat_").unwrap_or(name)) {
            let value = value.split(',').next().unwrap_or_default(); // the number of calls, without their duration
            found.push_str(&format!("{name}:{value};"));
        }
    }
    has_commands.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deletions_change_the_text() {
        let info = |zrem: u32, del: u32, evicted: u32| {
            format!(
                "# Stats\r\nevicted_keys:{evicted}\r\n# Commandstats\r\ncmdstat_zrem:calls={zrem},usec=5,x=1\r\n\
                 cmdstat_del:calls={del},usec={zrem}\r\n"
            )
        };
        let of = |zrem, del, evicted| parse_deletions(&info(zrem, del, evicted));
        assert!(of(1, 1, 0).is_some());
        assert_eq!(of(1, 1, 0), of(9, 1, 0));
        assert_ne!(of(1, 1, 0), of(1, 2, 0));
        assert_ne!(of(1, 1, 0), of(1, 1, 1));
        assert_eq!(parse_deletions("# Stats\r\nevicted_keys:0\r\n"), None, "the server counts no commands");
    }
}
