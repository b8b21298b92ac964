//! The way through the members of some groups.

use std::{collections::HashSet, ops::Range, sync::Arc};

use super::{
    group::{Group, SHARDS},
    selectors::Selected,
};
use crate::{mailbox::MailboxSender, name::GroupName};

/// Visits all members of some groups in slices. It locks no map and looks up no member by name.
#[derive(Debug)]
pub(super) struct MemberCursor<const N: usize = SHARDS> {
    groups: Vec<Arc<Group<N>>>,
    /// The number of groups yet to be finished; the last of these is the current one.
    left: usize,
    /// The shards to visit in each group.
    shards: Range<usize>,
    /// The current shard.
    shard: usize,
    /// The next slot in the current shard.
    slot: usize,
    /// The members visited so far, by their identifiers. Only kept for several groups, which may share members.
    seen: Option<HashSet<usize>>,
}

impl<const N: usize> MemberCursor<N> {
    /// Starts before the members of these groups. A group that is named twice counts once.
    pub(super) fn new(mut groups: Vec<Arc<Group<N>>>) -> Self {
        if groups.len() > 1 {
            let mut known = HashSet::new();
            groups.retain(|group| known.insert(Arc::as_ptr(group)));
        }
        Self::over(groups, 0..N)
    }

    /// Starts before the members of one shard.
    pub(super) fn new_in_shard(group: Arc<Group<N>>, shard: usize) -> Self {
        Self::over(vec![group], shard..shard + 1)
    }

    fn over(groups: Vec<Arc<Group<N>>>, shards: Range<usize>) -> Self {
        let seen = (groups.len() > 1).then(HashSet::new);
        Self { left: groups.len(), groups, shard: shards.start, shards, slot: 0, seen }
    }

    /// Whether members may be in several of the groups.
    pub(super) fn is_union(&self) -> bool {
        self.seen.is_some()
    }

    /// Calls `visit` with the members in the next slots of the only group, if none of them has a selection; otherwise returns
    /// `None`, and [`step`](Self::step) is to visit them. False once all have been visited.
    pub(super) fn plain_step(&mut self, slots: usize, visit: impl FnMut(&MailboxSender)) -> Option<bool> {
        let Some(group) = self.current() else { return Some(false) };
        let more = group.plain_slice(self.shard, self.slot, slots, visit)?;
        Some(self.advance(slots, more))
    }

    /// Calls `visit` with the members in the next slots, and whether it has been visited in another group; false once all
    /// have been visited. A member for which `visit` returns false counts as not visited.
    pub(super) fn step(
        &mut self,
        slots: usize,
        mut visit: impl FnMut(&MailboxSender, Option<Selected<'_>>, bool) -> bool,
    ) -> bool {
        let Some(group) = self.current().cloned() else { return false };
        let seen = &mut self.seen;
        let more = group.slice(self.shard, self.slot, slots, |member, selected| match seen {
            None => drop(visit(member, selected, false)),
            Some(seen) => {
                let is_seen = seen.contains(&member.id());
                if visit(member, selected, is_seen) && !is_seen {
                    seen.insert(member.id());
                }
            }
        });
        self.advance(slots, more)
    }

    fn current(&self) -> Option<&Arc<Group<N>>> {
        self.left.checked_sub(1).and_then(|at| self.groups.get(at))
    }

    /// Goes on by a slice; false at the end of the last group. `more`: whether the shard has further slots.
    fn advance(&mut self, slots: usize, more: bool) -> bool {
        if more {
            self.slot += slots;
            return true;
        }
        self.slot = 0;
        self.shard += 1;
        if self.shard == self.shards.end {
            self.shard = self.shards.start;
            self.left -= 1;
        }
        self.left > 0
    }

    /// The names of the groups.
    pub(super) fn names(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.iter().map(|group| group.name())
    }
}
