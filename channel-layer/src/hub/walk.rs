//! The way over all members of some groups, in slices.

use std::{collections::HashSet, sync::Arc};

use super::group::Group;
use crate::{mailbox::MailboxSender, name::GroupName};

/// No map is locked on the way, and no member is looked up by name.
#[derive(Debug)]
pub(super) struct Walk {
    groups: Vec<Arc<Group>>,
    /// The number of groups yet to be finished; the last of these is under way.
    left: usize,
    /// The position in the group under way.
    place: usize,
    except: Option<MailboxSender>,
    /// The members seen so far, by address. Only kept for several groups, which may share members.
    seen: Option<HashSet<usize>>,
}

impl Walk {
    pub(super) fn new(groups: Vec<Arc<Group>>, except: Option<MailboxSender>) -> Self {
        let seen = (groups.len() > 1).then(HashSet::new);
        Self { left: groups.len(), groups, place: 0, except, seen }
    }

    /// Shows the members at the next so many places; false once all have been shown.
    pub(super) fn step(&mut self, places: usize, mut show: impl FnMut(&MailboxSender)) -> bool {
        let Some(group) = self.left.checked_sub(1).and_then(|at| self.groups.get(at)).cloned() else {
            return false;
        };
        let more = group.slice(self.place, places, |member| {
            if self.is_meant(member) {
                show(member);
            }
        });
        if more {
            self.place += places;
            return true;
        }
        self.left -= 1;
        self.place = 0;
        self.left > 0
    }

    /// The names of the groups.
    pub(super) fn names(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.iter().map(|group| group.name())
    }

    fn is_meant(&mut self, member: &MailboxSender) -> bool {
        let excepted = self.except.as_ref().is_some_and(|except| except.same_mailbox(member));
        !excepted && self.seen.as_mut().is_none_or(|seen| seen.insert(member.id()))
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("members", &self.len()).finish()
    }
}
