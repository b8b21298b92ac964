//! The groups that one channel is in: the reverse index.

use std::sync::Arc;

use tokio::time::Instant;

use super::group::Group;
use crate::name::GroupName;

/// A plain list: most channels are in a handful of groups, and an empty one takes no memory.
#[derive(Default)]
pub(super) struct Memberships(Vec<(GroupName, Membership)>);

pub(super) struct Membership {
    group: Arc<Group>,
    place: u32,
    since: Instant,
}

impl Memberships {
    /// Renews the membership, or makes one at the place that `join` returns.
    pub(super) fn renew_or_insert(
        &mut self,
        name: &GroupName,
        now: Instant,
        join: impl FnOnce() -> (Arc<Group>, u32),
    ) {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| known == name) {
            known.since = now;
            return;
        }
        let (group, place) = join();
        self.0.push((name.clone(), Membership { group, place, since: now }));
    }

    pub(super) fn remove(&mut self, name: &GroupName) -> Option<Membership> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(super) fn take_all(&mut self) -> Self {
        std::mem::take(self)
    }

    pub(super) fn take_older_than(&mut self, then: Instant) -> Self {
        Self(self.0.extract_if(.., |(_, membership)| membership.since < then).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Membership {
    pub(super) fn end(self) {
        self.group.leave(self.place);
    }
}

impl IntoIterator for Memberships {
    type Item = (GroupName, Membership);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
