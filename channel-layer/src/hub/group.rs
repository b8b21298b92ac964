//! The members of one group: a list that joining and leaving changes in constant time.

use std::{collections::VecDeque, fmt, sync::Arc};

use tokio::sync::oneshot;

use super::{
    cooperative::SLICE,
    selectors::{Selected, Selectors},
    totals::Totals,
};
use crate::{
    layer::Deliveries,
    mailbox::{Delivery, MailboxSender},
    name::{ChannelName, GroupName},
    selection::Selection,
    sync::{Mutex, RwLock, read, write},
};

/// The parts of a group that are sent to independently of each other.
pub(super) const SHARDS: usize = 1;

/// A message to a group, as one of many that are sent together.
#[derive(Debug)]
pub struct GroupSend {
    /// The message that every member receives.
    pub delivery: Delivery,
    /// A channel that is left out, most often the sender's.
    pub except: Option<ChannelName>,
    /// Receives the outcome, once all members have been served.
    pub on_done: Option<oneshot::Sender<Deliveries>>,
}

/// A message to all members, whose outcome is not asked for.
impl From<Delivery> for GroupSend {
    fn from(delivery: Delivery) -> Self {
        Self { delivery, except: None, on_done: None }
    }
}

/// The messages sent to a shard during a run over its members, queued for the next one. `None` without a run. Bounded by
/// the number of concurrent callers: each waits for its own.
pub(super) type QueuedSends = Mutex<Option<VecDeque<GroupSend>>>;

/// A group with `N` shards.
pub(super) struct Group<const N: usize = SHARDS> {
    name: GroupName,
    shards: [GroupShard; N],
}

#[derive(Default)]
struct GroupShard {
    /// Any number of senders read the list at once; only joining and leaving write it.
    members: RwLock<Members>,
    queued: QueuedSends,
}

/// A slab of its own, because a slot must never move during a fan-out in slices.
#[derive(Default)]
struct Members {
    slots: Vec<Option<MailboxSender>>,
    free: Vec<u32>,
    live: usize,
    /// `None` while all members receive all messages.
    selectors: Option<Box<Selectors>>,
}

/// The slot of a member, numbered over all shards.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberSlot(u32);

impl<const N: usize> Group<N> {
    pub(super) fn new(name: GroupName) -> Self {
        Self { name, shards: std::array::from_fn(|_| GroupShard::default()) }
    }

    pub(super) fn name(&self) -> &GroupName {
        &self.name
    }

    /// The messages queued for one shard.
    pub(super) fn queued(&self, shard: usize) -> &QueuedSends {
        &self.shards[shard].queued
    }

    /// Adds a member for all messages.
    #[cfg(test)]
    pub(super) fn join(&self, member: MailboxSender) -> MemberSlot {
        self.join_with(member, |_, _| {})
    }

    /// Adds a member with a selection, and returns its slot, for [`leave`](Self::leave).
    pub(super) fn join_selecting(
        &self,
        member: MailboxSender,
        selection: &Selection,
        totals: &Arc<Totals>,
    ) -> MemberSlot {
        self.join_with(member, |members, slot| members.select(slot, selection, &self.name, totals))
    }

    fn join_with(&self, member: MailboxSender, then: impl FnOnce(&mut Members, usize)) -> MemberSlot {
        // Without the bits of the address that alignment makes alike.
        let shard = (member.id() >> 6) % N;
        let mut members = write(&self.shards[shard].members);
        let slot = members.join(member);
        then(&mut members, slot);
        let number = slot * N + shard;
        MemberSlot(u32::try_from(number).expect("memory ends before four billion members"))
    }

    /// Replaces the selection of the member at a slot.
    pub(super) fn select(&self, slot: MemberSlot, selection: &Selection, totals: &Arc<Totals>) {
        let number = slot.0 as usize;
        let members = &self.shards[number % N].members;
        if *selection == Selection::All && read(members).selectors.is_none() {
            return; // as nearly always: a renewal waits for no fan-out
        }
        write(members).select(number / N, selection, &self.name, totals);
    }

    /// Removes the member at a slot.
    pub(super) fn leave(&self, MemberSlot(number): MemberSlot) {
        let number = number as usize;
        write(&self.shards[number % N].members).leave(number / N);
    }

    /// Whether a shard can be served in one slice.
    pub(super) fn is_small(&self, shard: usize) -> bool {
        read(&self.shards[shard].members).slots.len() <= SLICE
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(&shard.members).live).sum()
    }

    pub(super) fn channels(&self) -> Vec<ChannelName> {
        let mut channels = Vec::with_capacity(self.len());
        for shard in &self.shards {
            let members = read(&shard.members);
            channels.extend(members.slots.iter().flatten().map(|member| member.channel().clone()));
        }
        channels
    }

    /// Calls `each` like [`slice`](Self::slice), if no member of the shard has a selection; otherwise returns `None`. A loop
    /// of its own, without a selection to look at for each member.
    pub(super) fn plain_slice(
        &self,
        shard: usize,
        from: usize,
        count: usize,
        each: impl FnMut(&MailboxSender),
    ) -> Option<bool> {
        let members = read(&self.shards[shard].members);
        if members.selectors.is_some() {
            return None;
        }
        let slots = members.slots.get(from..).unwrap_or_default();
        slots.iter().take(count).flatten().for_each(each);
        Some(slots.len() > count)
    }

    /// Calls `each` with the members of a shard in the slots from `from` on, up to `count` slots, and with their selectors.
    /// True if there are more.
    ///
    /// A member that neither joins nor leaves meanwhile is visited exactly once by all slices together.
    pub(super) fn slice(
        &self,
        shard: usize,
        from: usize,
        count: usize,
        mut each: impl FnMut(&MailboxSender, Option<Selected<'_>>),
    ) -> bool {
        let members = read(&self.shards[shard].members);
        let slots = members.slots.get(from..).unwrap_or_default();
        match &members.selectors {
            None => slots.iter().take(count).flatten().for_each(|member| each(member, None)),
            Some(selectors) => {
                let slots = slots.iter().zip(selectors.slots_from(from)).take(count);
                let used = slots.filter_map(|(member, selected)| Some((member.as_ref()?, selected)));
                used.for_each(|(member, selected)| each(member, selected));
            }
        }
        slots.len() > count
    }
}

impl Members {
    fn join(&mut self, member: MailboxSender) -> usize {
        self.live += 1;
        if let Some(slot) = self.free.pop() {
            let slot = slot as usize;
            self.slots[slot] = Some(member);
            return slot;
        }
        self.slots.push(Some(member));
        if let Some(selectors) = &mut self.selectors {
            selectors.extend_to(self.slots.len());
        }
        self.slots.len() - 1
    }

    /// Replaces the selection of the member at a slot.
    fn select(&mut self, slot: usize, selection: &Selection, group: &GroupName, totals: &Arc<Totals>) {
        let Some(member) = &self.slots[slot] else { return };
        if let Some(selectors) = &mut self.selectors {
            selectors.remove(slot, member);
        }
        if *selection != Selection::All {
            let slots = self.slots.len();
            let selectors = self.selectors.get_or_insert_with(|| Box::new(Selectors::new(slots)));
            selectors.insert(slot, selection, member, group, totals);
        }
        self.selectors.take_if(|selectors| selectors.is_empty());
    }

    fn leave(&mut self, slot: usize) {
        if let (Some(selectors), Some(member)) = (&mut self.selectors, &self.slots[slot]) {
            selectors.remove(slot, member);
            self.selectors.take_if(|selectors| selectors.is_empty());
        }
        self.slots[slot] = None;
        self.free.push(u32::try_from(slot).expect("it came from a `MemberSlot`"));
        self.live -= 1;
        if self.live == 0 {
            *self = Self::default();
        }
    }
}

impl<const N: usize> fmt::Debug for Group<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("members", &self.len()).finish()
    }
}
