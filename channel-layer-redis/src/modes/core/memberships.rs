//! The groups of this process's mailboxes, and the changes that Redis does not have yet.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard},
};

use channel_layer::{ChannelName, GroupName, hub::Hub};

use crate::sync::lock;

/// A group and a mailbox of this process.
pub(super) type Membership = (GroupName, ChannelName);

/// The memberships of this process.
#[derive(Debug, Default)]
pub(super) struct Memberships(Mutex<MembershipTable>);

#[derive(Debug, Default)]
struct MembershipTable {
    all: HashMap<ChannelName, HashMap<GroupName, WriteState>>,
    /// Set if some may be pending. Cleared by a search that finds none.
    has_pending: bool,
    /// Ended memberships that have to be removed from Redis.
    removals: HashSet<Membership>,
}

/// The state of a membership in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteState {
    /// Being written by a caller.
    Writing,
    /// To be written; may already be in Redis.
    Pending,
    /// To be written; certainly not in Redis.
    Unsent,
    /// Written to Redis.
    Written,
}

impl Memberships {
    /// Adds a membership. Returns whether it is new.
    pub(super) fn add(&self, group: &GroupName, channel: &ChannelName) -> bool {
        let mut table = self.lock();
        table.removals.remove(&(group.clone(), channel.clone()));
        let groups = table.all.entry(channel.clone()).or_default();
        let before = groups.len();
        groups.entry(group.clone()).or_insert(WriteState::Writing);
        groups.len() > before
    }

    pub(super) fn remove(&self, group: &GroupName, channel: &ChannelName) {
        self.lock().remove(group, channel);
    }

    pub(super) fn take(&self, channel: &ChannelName) -> Vec<GroupName> {
        self.lock().all.remove(channel).unwrap_or_default().into_keys().collect()
    }

    pub(super) fn clear(&self) {
        *self.lock() = MembershipTable::default();
    }

    pub(super) fn take_all(&self) -> Vec<Membership> {
        let table = std::mem::take(&mut *self.lock());
        table.iter().map(|(group, channel, _)| (group.clone(), channel.clone())).collect()
    }

    /// Marks a membership as to be written with the next connection. `sent` is set if it may already be in Redis.
    pub(super) fn mark_pending(&self, group: &GroupName, channel: &ChannelName, sent: bool) {
        let write_state = if sent { WriteState::Pending } else { WriteState::Unsent };
        let mut table = self.lock();
        if let Some(known) = table.all.get_mut(channel).and_then(|groups| groups.get_mut(group)) {
            *known = if *known == WriteState::Unsent || !sent { write_state } else { WriteState::Pending };
            table.has_pending = true;
        }
    }

    /// Marks a membership to be removed from Redis with the next connection.
    pub(super) fn remove_later(&self, group: &GroupName, channel: &ChannelName) {
        self.lock().removals.insert((group.clone(), channel.clone()));
    }

    /// Marks all memberships of these groups as to be written, as Redis may have lost them.
    pub(super) fn mark_all_pending(&self, is_included: impl Fn(&GroupName) -> bool) {
        let mut table = self.lock();
        let MembershipTable { all, has_pending, .. } = &mut *table;
        for (group, write_state) in all.values_mut().flatten().filter(|(group, _)| is_included(group)) {
            if *write_state == WriteState::Written {
                *write_state = WriteState::Pending;
            }
            let _ = group;
            *has_pending = true;
        }
    }

    /// The memberships of these groups that have to be written.
    pub(super) fn pending(&self, is_included: impl Fn(&GroupName) -> bool) -> Vec<Membership> {
        let mut table = self.lock();
        if !table.has_pending {
            return Vec::new();
        }
        let is_wanted = |write_state| matches!(write_state, WriteState::Pending | WriteState::Unsent);
        let (mut wanted, mut any) = (Vec::new(), false);
        for (group, channel, _) in table.iter().filter(|(_, _, write_state)| is_wanted(*write_state)) {
            any = true;
            if is_included(group) {
                wanted.push((group.clone(), channel.clone()));
            }
        }
        table.has_pending = any;
        wanted
    }

    /// The ended memberships of these groups that have to be removed from Redis.
    pub(super) fn removals(&self, is_included: impl Fn(&GroupName) -> bool) -> Vec<Membership> {
        self.lock().removals.iter().filter(|(group, _)| is_included(group)).cloned().collect()
    }

    /// Marks memberships as written. Those that have ended meanwhile have to be removed again.
    pub(super) fn mark_written(&self, memberships: &[Membership]) {
        let mut table = self.lock();
        for (group, channel) in memberships {
            match table.all.get_mut(channel).and_then(|groups| groups.get_mut(group)) {
                Some(write_state) => *write_state = WriteState::Written,
                None => drop(table.removals.insert((group.clone(), channel.clone()))),
            }
        }
    }

    /// Marks memberships as removed from Redis.
    pub(super) fn mark_removed(&self, memberships: &[Membership]) {
        let mut table = self.lock();
        for membership in memberships {
            table.removals.remove(membership);
        }
    }

    /// The memberships that are in Redis.
    pub(super) fn written(&self) -> Vec<Membership> {
        let table = self.lock();
        let written = table.iter().filter(|(_, _, write_state)| *write_state == WriteState::Written);
        written.map(|(group, channel, _)| (group.clone(), channel.clone())).collect()
    }

    /// Whether the membership is in Redis and has not ended.
    pub(super) fn is_written(&self, (group, channel): &Membership) -> bool {
        let table = self.lock();
        let write_state = table.all.get(channel).and_then(|groups| groups.get(group));
        write_state == Some(&WriteState::Written)
    }

    /// Ends the memberships of closed mailboxes. Those that may be in Redis have to be removed.
    pub(super) fn end_closed(&self, hub: &Hub) {
        let mut table = self.lock();
        let MembershipTable { all, removals, .. } = &mut *table;
        for (channel, groups) in all.extract_if(|channel, _| !hub.contains(channel)) {
            let known = groups.into_iter().filter(|(_, write_state)| *write_state != WriteState::Unsent);
            removals.extend(known.map(|(group, _)| (group, channel.clone())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, MembershipTable> {
        lock(&self.0)
    }
}

impl MembershipTable {
    fn remove(&mut self, group: &GroupName, channel: &ChannelName) {
        if let Some(groups) = self.all.get_mut(channel) {
            groups.remove(group);
            if groups.is_empty() {
                self.all.remove(channel);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&GroupName, &ChannelName, WriteState)> {
        self.all
            .iter()
            .flat_map(|(channel, groups)| groups.iter().map(move |(group, at)| (group, channel, *at)))
    }
}

#[cfg(test)]
mod tests {
    use channel_layer::mailbox::Bounds;

    use super::*;

    fn membership(group: &str) -> Membership {
        (group.parse().unwrap(), "a.1!x".parse().unwrap())
    }

    fn add(memberships: &Memberships, group: &str) -> Membership {
        let (group, channel) = membership(group);
        assert!(memberships.add(&group, &channel));
        (group, channel)
    }

    #[test]
    fn dropped_mailboxes_are_removed() {
        let (hub, memberships) = (Hub::new(), Memberships::default());
        let g = add(&memberships, "g");
        let unsent = add(&memberships, "unsent");
        memberships.mark_pending(&unsent.0, &unsent.1, false);
        let mailbox = hub.open(g.1.clone(), Bounds { messages: 1, bytes: 1 }).unwrap();
        memberships.mark_written(std::slice::from_ref(&g));
        memberships.end_closed(&hub);
        assert!(memberships.removals(|_| true).is_empty());
        drop(mailbox);
        memberships.end_closed(&hub);
        assert_eq!(memberships.removals(|_| true), std::slice::from_ref(&g), "the other was never in Redis");
        assert!(memberships.written().is_empty() && memberships.pending(|_| true).is_empty());
        memberships.mark_removed(&[g]);
        assert!(memberships.removals(|_| true).is_empty());
    }

    #[test]
    fn lost_memberships_are_pending() {
        let memberships = Memberships::default();
        let (g, h) = (add(&memberships, "g"), add(&memberships, "h"));
        memberships.mark_written(std::slice::from_ref(&g));
        assert!(memberships.pending(|_| true).is_empty(), "a caller is writing the other one");
        memberships.mark_pending(&h.0, &h.1, true);
        assert_eq!(memberships.pending(|_| true), std::slice::from_ref(&h));
        memberships.mark_all_pending(|group| *group == g.0);
        let mut wanted = memberships.pending(|_| true);
        wanted.sort_unstable();
        assert_eq!(wanted, [g.clone(), h.clone()]);
        assert!(memberships.pending(|group| *group == g.0).len() == 1 && !memberships.is_written(&g));
        memberships.mark_written(&wanted);
        assert!(memberships.pending(|_| true).is_empty() && memberships.is_written(&h));
    }

    #[test]
    fn ended_writes_are_removed() {
        let memberships = Memberships::default();
        let g = add(&memberships, "g");
        memberships.remove(&g.0, &g.1);
        memberships.mark_written(std::slice::from_ref(&g));
        assert_eq!(memberships.removals(|_| true), std::slice::from_ref(&g));
        add(&memberships, "g");
        assert!(memberships.removals(|_| true).is_empty());
        memberships.remove_later(&g.0, &g.1);
        assert_eq!(memberships.removals(|group| *group != g.0), []);
        assert_eq!(memberships.take_all(), [g]);
        assert!(memberships.removals(|_| true).is_empty());
    }
}
