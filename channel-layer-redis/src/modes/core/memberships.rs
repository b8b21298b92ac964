//! The groups that mailboxes of this process are to be in, and what Redis has not been told of yet.

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
pub(super) struct Memberships(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    all: HashMap<ChannelName, HashMap<GroupName, Standing>>,
    /// Set if some may have to be written. Cleared by a search that finds none.
    any_wanted: bool,
    /// Ended here, while Redis could not be told.
    leaving: HashSet<Membership>,
}

/// The state of a membership in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// A caller is writing it.
    New,
    /// To be written; may have been written already.
    Wanted,
    /// To be written; has certainly not been written yet.
    Unsent,
    Written,
}

impl Memberships {
    /// Adds a membership. Returns false if it was there already.
    pub(super) fn add(&self, group: &GroupName, channel: &ChannelName) -> bool {
        let mut state = self.lock();
        state.leaving.remove(&(group.clone(), channel.clone()));
        let groups = state.all.entry(channel.clone()).or_default();
        let before = groups.len();
        groups.entry(group.clone()).or_insert(Standing::New);
        groups.len() > before
    }

    pub(super) fn remove(&self, group: &GroupName, channel: &ChannelName) {
        self.lock().take_out(group, channel);
    }

    pub(super) fn take(&self, channel: &ChannelName) -> Vec<GroupName> {
        self.lock().all.remove(channel).unwrap_or_default().into_keys().collect()
    }

    pub(super) fn clear(&self) {
        *self.lock() = State::default();
    }

    pub(super) fn take_all(&self) -> Vec<Membership> {
        let state = std::mem::take(&mut *self.lock());
        state.iter().map(|(group, channel, _)| (group.clone(), channel.clone())).collect()
    }

    /// Redis could not be told of a new one: it is written with the next connection. `sent` if it may have been.
    pub(super) fn want(&self, group: &GroupName, channel: &ChannelName, sent: bool) {
        let standing = if sent { Standing::Wanted } else { Standing::Unsent };
        let mut state = self.lock();
        if let Some(known) = state.all.get_mut(channel).and_then(|groups| groups.get_mut(group)) {
            *known = if *known == Standing::Unsent || !sent { standing } else { Standing::Wanted };
            state.any_wanted = true;
        }
    }

    /// Redis could not be told of an end: it is told with the next connection.
    pub(super) fn leave_later(&self, group: &GroupName, channel: &ChannelName) {
        self.lock().leaving.insert((group.clone(), channel.clone()));
    }

    /// All of these groups' memberships have to be written, as Redis may have lost them.
    pub(super) fn want_all(&self, is_meant: impl Fn(&GroupName) -> bool) {
        let mut state = self.lock();
        let State { all, any_wanted, .. } = &mut *state;
        for (group, standing) in all.values_mut().flatten().filter(|(group, _)| is_meant(group)) {
            if *standing == Standing::Written {
                *standing = Standing::Wanted;
            }
            let _ = group;
            *any_wanted = true;
        }
    }

    /// Returns the memberships that have to be written.
    pub(super) fn wanted(&self, is_meant: impl Fn(&GroupName) -> bool) -> Vec<Membership> {
        let mut state = self.lock();
        if !state.any_wanted {
            return Vec::new();
        }
        let is_wanted = |standing| matches!(standing, Standing::Wanted | Standing::Unsent);
        let (mut wanted, mut any) = (Vec::new(), false);
        for (group, channel, _) in state.iter().filter(|(_, _, standing)| is_wanted(*standing)) {
            any = true;
            if is_meant(group) {
                wanted.push((group.clone(), channel.clone()));
            }
        }
        state.any_wanted = any;
        wanted
    }

    /// Returns the memberships that have ended and are to be removed from Redis.
    pub(super) fn leaving(&self, is_meant: impl Fn(&GroupName) -> bool) -> Vec<Membership> {
        self.lock().leaving.iter().filter(|(group, _)| is_meant(group)).cloned().collect()
    }

    /// Notes that Redis has these memberships. Those that ended meanwhile are to be removed again.
    pub(super) fn written(&self, memberships: &[Membership]) {
        let mut state = self.lock();
        for (group, channel) in memberships {
            match state.all.get_mut(channel).and_then(|groups| groups.get_mut(group)) {
                Some(standing) => *standing = Standing::Written,
                None => drop(state.leaving.insert((group.clone(), channel.clone()))),
            }
        }
    }

    /// Redis does not have them any more.
    pub(super) fn left(&self, memberships: &[Membership]) {
        let mut state = self.lock();
        for membership in memberships {
            state.leaving.remove(membership);
        }
    }

    /// Returns the memberships that have been written to Redis.
    pub(super) fn all_written(&self) -> Vec<Membership> {
        let state = self.lock();
        let written = state.iter().filter(|(_, _, standing)| *standing == Standing::Written);
        written.map(|(group, channel, _)| (group.clone(), channel.clone())).collect()
    }

    /// Returns whether this membership has been written to Redis and has not ended since.
    pub(super) fn is_written(&self, (group, channel): &Membership) -> bool {
        let state = self.lock();
        let standing = state.all.get(channel).and_then(|groups| groups.get(group));
        standing == Some(&Standing::Written)
    }

    /// Ends the memberships of mailboxes that are gone; what Redis may have of them is to be taken out.
    pub(super) fn end_dead(&self, hub: &Hub) {
        let mut state = self.lock();
        let State { all, leaving, .. } = &mut *state;
        for (channel, groups) in all.extract_if(|channel, _| !hub.contains(channel)) {
            let known = groups.into_iter().filter(|(_, standing)| *standing != Standing::Unsent);
            leaving.extend(known.map(|(group, _)| (group, channel.clone())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    fn take_out(&mut self, group: &GroupName, channel: &ChannelName) {
        if let Some(groups) = self.all.get_mut(channel) {
            groups.remove(group);
            if groups.is_empty() {
                self.all.remove(channel);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&GroupName, &ChannelName, Standing)> {
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
    fn the_memberships_of_dropped_mailboxes_are_found() {
        let (hub, memberships) = (Hub::new(), Memberships::default());
        let g = add(&memberships, "g");
        let unsent = add(&memberships, "unsent");
        memberships.want(&unsent.0, &unsent.1, false);
        let mailbox = hub.open(g.1.clone(), Bounds { messages: 1, bytes: 1 }).unwrap();
        memberships.written(std::slice::from_ref(&g));
        memberships.end_dead(&hub);
        assert!(memberships.leaving(|_| true).is_empty());
        drop(mailbox);
        memberships.end_dead(&hub);
        assert_eq!(memberships.leaving(|_| true), std::slice::from_ref(&g), "Redis never heard of the other");
        assert!(memberships.all_written().is_empty() && memberships.wanted(|_| true).is_empty());
        memberships.left(&[g]);
        assert!(memberships.leaving(|_| true).is_empty());
    }

    #[test]
    fn lost_and_unwritten_memberships_are_wanted_until_written() {
        let memberships = Memberships::default();
        let (g, h) = (add(&memberships, "g"), add(&memberships, "h"));
        memberships.written(std::slice::from_ref(&g));
        assert!(memberships.wanted(|_| true).is_empty(), "a caller is writing the other one");
        memberships.want(&h.0, &h.1, true);
        assert_eq!(memberships.wanted(|_| true), std::slice::from_ref(&h));
        memberships.want_all(|group| *group == g.0);
        let mut wanted = memberships.wanted(|_| true);
        wanted.sort_unstable();
        assert_eq!(wanted, [g.clone(), h.clone()]);
        assert!(memberships.wanted(|group| *group == g.0).len() == 1 && !memberships.is_written(&g));
        memberships.written(&wanted);
        assert!(memberships.wanted(|_| true).is_empty() && memberships.is_written(&h));
    }

    #[test]
    fn memberships_ended_while_written_are_removed_unless_renewed() {
        let memberships = Memberships::default();
        let g = add(&memberships, "g");
        memberships.remove(&g.0, &g.1);
        memberships.written(std::slice::from_ref(&g));
        assert_eq!(memberships.leaving(|_| true), std::slice::from_ref(&g));
        add(&memberships, "g");
        assert!(memberships.leaving(|_| true).is_empty());
        memberships.leave_later(&g.0, &g.1);
        assert_eq!(memberships.leaving(|group| *group != g.0), []);
        assert_eq!(memberships.take_all(), [g]);
        assert!(memberships.leaving(|_| true).is_empty());
    }
}
