//! The members of one group: a list that joining and leaving changes in constant time.

use super::{SLICE, line::Line};
use crate::{
    mailbox::MailboxSender,
    name::{ChannelName, GroupName},
    sync::{RwLock, read, write},
};

pub(super) struct Group {
    name: GroupName,
    /// Any number of senders read the list at once; only joining and leaving write it.
    members: RwLock<Members>,
    /// Those who send to the group at this moment.
    pub(super) line: Line,
}

/// A slab of its own, because a place must never move while somebody walks over the list in slices.
#[derive(Default)]
struct Members {
    places: Vec<Option<MailboxSender>>,
    free: Vec<u32>,
    live: usize,
}

impl Group {
    pub(super) fn new(name: GroupName) -> Self {
        Self { name, members: RwLock::default(), line: Line::default() }
    }

    pub(super) fn name(&self) -> &GroupName {
        &self.name
    }

    /// Adds a member and says where, for [`leave`](Self::leave).
    pub(super) fn join(&self, member: MailboxSender) -> u32 {
        let mut members = write(&self.members);
        members.live += 1;
        if let Some(place) = members.free.pop() {
            members.places[place as usize] = Some(member);
            return place;
        }
        members.places.push(Some(member));
        u32::try_from(members.places.len() - 1).expect("memory ends before four billion members")
    }

    /// Takes out the member that [`join`](Self::join) put there.
    pub(super) fn leave(&self, place: u32) {
        let mut members = write(&self.members);
        members.places[place as usize] = None;
        members.free.push(place);
        members.live -= 1;
        if members.live == 0 {
            *members = Members::default();
        }
    }

    /// Can all be served in one slice?
    pub(super) fn is_small(&self) -> bool {
        read(&self.members).places.len() <= SLICE
    }

    pub(super) fn len(&self) -> usize {
        read(&self.members).live
    }

    pub(super) fn channels(&self) -> Vec<ChannelName> {
        let members = read(&self.members);
        members.places.iter().flatten().map(|member| member.channel().clone()).collect()
    }

    /// Shows the members at `from` and after to `each`, up to `count` places; true if there are more.
    ///
    /// Who is a member all the time is seen exactly once, however joining and leaving go on in between.
    pub(super) fn slice(&self, from: usize, count: usize, mut each: impl FnMut(&MailboxSender)) -> bool {
        let members = read(&self.members);
        let places = members.places.get(from..).unwrap_or_default();
        places.iter().take(count).flatten().for_each(&mut each);
        places.len() > count
    }
}
