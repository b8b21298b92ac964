//! The members of one group: a list that joining and leaving changes in constant time.

use crate::{
    mailbox::MailboxSender,
    name::ChannelName,
    sync::{PoisonError, RwLock},
};

/// Any number of senders read the list at once; only joining and leaving write it.
#[derive(Default)]
pub(super) struct Group(RwLock<Members>);

/// A slab of its own, because a place must never move while somebody walks over the list in slices.
#[derive(Default)]
struct Members {
    places: Vec<Option<MailboxSender>>,
    free: Vec<u32>,
    live: usize,
}

impl Group {
    /// Adds a member and says where, for [`leave`](Self::leave).
    pub(super) fn join(&self, member: MailboxSender) -> u32 {
        let mut members = self.0.write().unwrap_or_else(PoisonError::into_inner);
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
        let mut members = self.0.write().unwrap_or_else(PoisonError::into_inner);
        members.places[place as usize] = None;
        members.free.push(place);
        members.live -= 1;
        if members.live == 0 {
            *members = Members::default();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).live
    }

    pub(super) fn channels(&self) -> Vec<ChannelName> {
        let members = self.0.read().unwrap_or_else(PoisonError::into_inner);
        members.places.iter().flatten().map(|member| member.channel().clone()).collect()
    }

    /// Shows the members at `from` and after to `each`, up to `count` places; true if there are more.
    ///
    /// Who is a member all the time is seen exactly once, however joining and leaving go on in between.
    pub(super) fn slice(&self, from: usize, count: usize, mut each: impl FnMut(&MailboxSender)) -> bool {
        let members = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let places = members.places.get(from..).unwrap_or_default();
        places.iter().take(count).flatten().for_each(&mut each);
        places.len() > count
    }
}
