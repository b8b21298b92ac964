//! The groups that one channel is in: the reverse index.

use std::sync::Arc;

use tokio::time::Instant;

use super::group::{Group, MemberSlot};
use crate::name::GroupName;

/// A plain list, because most channels are in a handful of groups. Boxed, although a list is on the heap anyway:
/// every open mailbox pays for its size here, and a null pointer is a third of an empty list.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "a list in a map entry is three times as large")]
pub(super) struct Memberships(Option<Box<Vec<(GroupName, Membership)>>>);

pub(super) struct Membership {
    group: Arc<Group>,
    slot: MemberSlot,
    since: Instant,
}

impl Memberships {
    /// Renews the membership, if there is one, and returns its group and slot.
    pub(super) fn renew(&mut self, name: &GroupName, now: Instant) -> Option<(&Group, MemberSlot)> {
        let (_, known) = self.0.as_mut()?.iter_mut().find(|(known, _)| known == name)?;
        known.since = now;
        Some((&known.group, known.slot))
    }

    /// Adds a membership, which is new.
    pub(super) fn insert(&mut self, name: &GroupName, group: Arc<Group>, slot: MemberSlot, now: Instant) {
        // Room for one: most channels are in one group, and `push` alone would make room for four.
        let list = self.0.get_or_insert_with(|| Box::new(Vec::with_capacity(1)));
        list.push((name.clone(), Membership { group, slot, since: now }));
    }

    pub(super) fn remove(&mut self, name: &GroupName) -> Option<Membership> {
        let list = self.0.as_mut()?;
        let at = list.iter().position(|(known, _)| known == name)?;
        let (_, membership) = list.swap_remove(at);
        self.shrink();
        Some(membership)
    }

    pub(super) fn take_all(&mut self) -> Self {
        std::mem::take(self)
    }

    pub(super) fn take_older_than(&mut self, then: Instant) -> Self {
        let Some(list) = &mut self.0 else { return Self::default() };
        let stale: Vec<_> = list.extract_if(.., |(_, membership)| membership.since < then).collect();
        self.shrink();
        Self(Some(Box::new(stale)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn names(&self) -> Vec<GroupName> {
        self.0.iter().flat_map(|list| list.iter()).map(|(name, _)| name.clone()).collect()
    }

    /// Frees the list of a channel without groups.
    fn shrink(&mut self) {
        self.0.take_if(|list| list.is_empty());
    }
}

impl Membership {
    pub(super) fn end(self) {
        self.group.leave(self.slot);
    }
}

impl IntoIterator for Memberships {
    type Item = (GroupName, Membership);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(|list| *list).unwrap_or_default().into_iter()
    }
}
