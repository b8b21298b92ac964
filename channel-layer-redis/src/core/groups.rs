//! Groups in Redis: this process's own memberships are renewed for as long as their mailboxes live, made again
//! after Redis has lost them, and ended soon after a mailbox was dropped.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use channel_layer::{ChannelName, GroupName, Result, hub::Hub};
use futures_util::future::join_all;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use super::bus::{Bus, run};
use crate::{
    client::{Command, Reply, Script},
    error::Fault,
    ring::host_of,
    supervisor::{Link, Session},
};

static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("add.lua")));
static MEMBERS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("members.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));

/// How often dropped mailboxes are looked for, beside the moments when a group has lost its last one.
const SWEEP: Duration = Duration::from_secs(1);
/// How often memberships are renewed, at most; more often if they end sooner.
const RENEWAL: Duration = Duration::from_secs(3600);
/// Commands under way at once.
const CHUNK: usize = 500;

/// The groups that mailboxes of this process are in.
#[derive(Debug, Default)]
pub(super) struct Memberships(Mutex<HashMap<ChannelName, HashSet<GroupName>>>);

impl Memberships {
    /// False if it was there already.
    pub(super) fn add(&self, group: &GroupName, channel: &ChannelName) -> bool {
        self.lock().entry(channel.clone()).or_default().insert(group.clone())
    }

    pub(super) fn remove(&self, group: &GroupName, channel: &ChannelName) {
        let mut all = self.lock();
        if let Some(groups) = all.get_mut(channel) {
            groups.remove(group);
            if groups.is_empty() {
                all.remove(channel);
            }
        }
    }

    pub(super) fn take(&self, channel: &ChannelName) -> HashSet<GroupName> {
        self.lock().remove(channel).unwrap_or_default()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn contains(&self, group: &GroupName, channel: &ChannelName) -> bool {
        self.lock().get(channel).is_some_and(|groups| groups.contains(group))
    }

    fn take_all(&self) -> Vec<(GroupName, ChannelName)> {
        let all = self.all();
        self.clear();
        all
    }

    fn all(&self) -> Vec<(GroupName, ChannelName)> {
        let all = self.lock();
        all.iter().flat_map(|(channel, groups)| groups.iter().map(|g| (g.clone(), channel.clone()))).collect()
    }

    /// Those of mailboxes that are gone.
    fn take_dead(&self, hub: &Hub) -> Vec<(GroupName, ChannelName)> {
        let dead = self.lock().extract_if(|channel, _| !hub.contains(channel)).collect::<Vec<_>>();
        dead.into_iter()
            .flat_map(|(channel, groups)| groups.into_iter().map(move |g| (g, channel.clone())))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, HashSet<GroupName>>> {
        // Nothing in here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Takes a channel out of a group.
pub(super) async fn remove(
    bus: &Bus,
    links: &[Link],
    group: &GroupName,
    channel: &ChannelName,
) -> Result<(), Fault> {
    let command = Command::new("ZREM").arg(bus.keys.group(group)).arg(channel.as_str());
    link_of(links, group).call(command).await.map(drop)
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

/// Looks after the memberships of this process until the layer is gone.
pub(super) async fn keep(bus: Weak<Bus>, links: Weak<[Link]>) {
    let Some(mut sessions) = links.upgrade().map(|links| Sessions::of(&links)) else { return };
    let Some(lifetime) = bus.upgrade().map(|bus| bus.config.layer.group_expiry) else { return };
    let mut renewal = interval((lifetime / 4).clamp(Duration::from_millis(10), RENEWAL));
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Hosts that may have lost what they had.
    let mut empty = BTreeSet::new();
    loop {
        let Some(strong) = bus.upgrade() else { return };
        let wake = async {
            tokio::select! {
                () = strong.emptied.notified() => {}
                () = sleep(SWEEP) => {}
            }
        };
        let is_renewal = tokio::select! {
            () = wake => false,
            _ = renewal.tick() => true,
            at = sessions.next() => {
                empty.insert(at);
                false
            }
        };
        let Some(links) = links.upgrade() else { return };
        strong.sweep(&links).await;
        strong.make_again(&links, &mut empty).await;
        if is_renewal {
            strong.write_all(&links, &RENEW, |_| true).await;
        }
    }
}

impl Bus {
    /// What fails is tried again after the next sweep: the connection may be well, and Redis may have no room.
    async fn make_again(&self, links: &[Link], empty: &mut BTreeSet<usize>) {
        for at in std::mem::take(empty) {
            let is_there = |group: &GroupName| host_of(group.as_str(), links.len()) == at;
            if !self.write_all(links, &ADD, is_there).await {
                empty.insert(at);
            }
        }
    }

    async fn sweep(&self, links: &[Link]) {
        let dead = self.memberships.take_dead(&self.hub);
        for chunk in dead.chunks(CHUNK) {
            let removed =
                join_all(chunk.iter().map(|(group, channel)| remove(self, links, group, channel))).await;
            for ((group, channel), _) in chunk.iter().zip(removed).filter(|(_, removed)| removed.is_err()) {
                self.memberships.add(group, channel); // again in a while
            }
        }
    }

    /// False if not all of it was written.
    async fn write_all(&self, links: &[Link], script: &Script, which: impl Fn(&GroupName) -> bool) -> bool {
        let all: Vec<_> = self.memberships.all().into_iter().filter(|(group, _)| which(group)).collect();
        for chunk in all.chunks(CHUNK) {
            let write = |(group, channel): &(GroupName, ChannelName)| {
                let (group, channel) = (group.clone(), channel.clone());
                async move { write(self, links, script, &group, &channel).await }
            };
            if let Some(fault) = join_all(chunk.iter().map(write)).await.into_iter().find_map(Result::err) {
                tracing::debug!(%fault, "could not renew memberships");
                return false;
            }
            self.remove_left(links, chunk).await;
        }
        true
    }

    /// Takes out again who has left meanwhile, perhaps before it was written.
    async fn remove_left(&self, links: &[Link], written: &[(GroupName, ChannelName)]) {
        let left = written.iter().filter(|(group, channel)| !self.memberships.contains(group, channel));
        join_all(left.map(|(group, channel)| remove(self, links, group, channel))).await;
    }
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

fn link_of<'a>(links: &'a [Link], group: &GroupName) -> &'a Link {
    &links[host_of(group.as_str(), links.len())]
}

/// Tells when a host has got a new connection.
struct Sessions(Vec<watch::Receiver<Option<Arc<Session>>>>);

impl Sessions {
    fn of(links: &[Link]) -> Self {
        Self(links.iter().map(Link::sessions).collect())
    }

    /// Cancel safe.
    async fn next(&mut self) -> usize {
        let changes = self.0.iter_mut().enumerate().map(|(at, session)| {
            Box::pin(async move {
                loop {
                    match session.changed().await {
                        Ok(()) if session.borrow_and_update().is_some() => return at,
                        Ok(()) => {}
                        Err(_) => std::future::pending().await,
                    }
                }
            })
        });
        futures_util::future::select_all(changes).await.0
    }
}

#[cfg(test)]
mod tests {
    use channel_layer::mailbox::Bounds;

    use super::*;

    #[test]
    fn the_memberships_of_dropped_mailboxes_are_found() {
        let (hub, memberships) = (Hub::new(), Memberships::default());
        let (g, h): (GroupName, GroupName) = ("g".parse().unwrap(), "h".parse().unwrap());
        let name: ChannelName = "a.1!x".parse().unwrap();
        let mailbox = hub.open(name.clone(), Bounds { messages: 1, bytes: 1 }).unwrap();
        memberships.add(&g, &name);
        memberships.add(&h, &name);
        memberships.remove(&h, &name);
        assert!(memberships.take_dead(&hub).is_empty());
        assert_eq!(memberships.all(), [(g.clone(), name.clone())]);
        drop(mailbox);
        assert_eq!(memberships.take_dead(&hub), [(g, name)]);
        assert!(memberships.all().is_empty());
    }
}
