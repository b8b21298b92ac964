//! What one process knows: its mailboxes, its groups, and how a message gets from one to the other.
//!
//! Every backend that receives messages for a whole process builds on a [`Hub`]: the in-memory layer is a hub
//! and little else, a Redis layer is a hub fed by its subscription.
//!
//! # Ordering
//! Messages that one caller sends one after the other reach each mailbox in that order.
//!
//! # Slow consumers
//! Nobody waits for them: a full mailbox does what its [`OverflowPolicy`](crate::OverflowPolicy) says, and is counted. A group whose
//! members miss messages is warned about by name through `tracing`, at most once a second.
//!
//! # Accounting
//! [`Hub::ledger`] tells what became of every message that was offered to a mailbox here.

mod broadcast;
mod burst;
mod fan_out;
mod group;
mod line;
mod memberships;
mod totals;
mod turns;
mod walk;

use std::sync::{Arc, OnceLock};

use dashmap::{DashMap, mapref::entry::Entry};
use tokio::time::Instant;

pub use self::{
    burst::{Burst, Post},
    fan_out::FanOut,
    turns::in_turns,
};
use self::{group::Group, memberships::Memberships, totals::Totals, walk::Walk};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::{Delivery, Ledger, Mailbox, MailboxLimits, MailboxOwner, MailboxSender, Refusal},
    name::{ChannelName, GroupName},
};

/// Deliveries made in one go: about 25 microseconds, short enough for whoever shares the thread.
const SLICE: usize = 1024;

/// Told about groups, by a [`Hub`].
pub trait GroupObserver: Send + Sync + 'static {
    /// A group has lost its last member; by the time of the call it may have a new one. Runs wherever the member
    /// left, in a mailbox's `Drop` too: it must not wait or panic.
    fn group_emptied(&self, group: &GroupName);

    /// A mailbox was closed. Runs in its `Drop`: it must not wait or panic.
    fn mailbox_closed(&self, channel: &ChannelName) {
        let _ = channel;
    }
}

/// The mailboxes and groups of one process. Clones share them.
///
/// Nothing here waits, so it may be called from anywhere, a driver's callback included; only
/// [`broadcast`](Self::broadcast) gives other tasks a turn.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Rooms>);

/// The maps never leave this file, no function here hands out a guard, and nothing here waits (a test looks): a
/// dashmap guard that is held over an `.await` compiles, and freezes everybody else.
///
/// Where both maps are locked, it is `mailboxes` first.
#[derive(Default)]
struct Rooms {
    mailboxes: DashMap<ChannelName, Inhabitant>,
    groups: DashMap<GroupName, Arc<Group>>,
    totals: Arc<Totals>,
    /// Set once at most, before the first group: a subscription that ends with its group.
    observer: OnceLock<Arc<dyn GroupObserver>>,
}

struct Inhabitant {
    sender: MailboxSender,
    /// The reverse index: what a closing channel has to leave.
    memberships: Memberships,
}

impl Hub {
    /// An empty hub.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has somebody told about groups from now on. False if there is an observer already.
    ///
    /// The hub keeps it: an observer that owns the hub in turn would keep both for ever.
    pub fn observe(&self, observer: Arc<dyn GroupObserver>) -> bool {
        self.0.observer.set(observer).is_ok()
    }

    /// Opens a mailbox under this name, or nothing if the name is taken.
    ///
    /// When it is dropped, the hub forgets it and its memberships.
    pub fn open(&self, channel: ChannelName, limits: impl Into<MailboxLimits>) -> Option<Mailbox> {
        match self.0.mailboxes.entry(channel.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let mailbox = Mailbox::new(channel, limits, Some(self.0.clone()));
                let sender = mailbox.sender().clone();
                place.insert(Inhabitant { sender, memberships: Memberships::default() });
                Some(mailbox)
            }
        }
    }

    /// Sends to one mailbox; `None` if no such mailbox is open here.
    pub fn send(&self, channel: &ChannelName, delivery: Delivery) -> Option<Result<(), Refusal>> {
        let sender = self.sender(channel)?;
        let outcome = sender.deliver(delivery);
        self.0.totals.missed(usize::from(outcome == Err(Refusal::Closed)));
        Some(outcome)
    }

    /// Is this mailbox open here?
    pub fn contains(&self, channel: &ChannelName) -> bool {
        self.0.mailboxes.contains_key(channel)
    }

    /// Adds a mailbox to a group, in constant time. False if no such mailbox is open here.
    pub fn join(&self, group: &GroupName, channel: &ChannelName) -> bool {
        let Some(mut inhabitant) = self.0.mailboxes.get_mut(channel) else { return false };
        let Inhabitant { sender, memberships } = &mut *inhabitant;
        memberships.renew_or_insert(group, Instant::now(), || {
            // Joined while the entry is held: an empty group is only removed under the same lock.
            let make = || Arc::new(Group::new(group.clone()));
            let group = self.0.groups.entry(group.clone()).or_insert_with(make);
            let place = group.join(sender.clone());
            (group.clone(), place)
        });
        true
    }

    /// Takes a mailbox out of a group. It is fine if it was not there.
    pub fn leave(&self, group: &GroupName, channel: &ChannelName) {
        let membership =
            self.0.mailboxes.get_mut(channel).and_then(|mut member| member.memberships.remove(group));
        if let Some(membership) = membership {
            membership.end();
            self.0.forget_if_empty(group);
        }
    }

    /// Ends the memberships of one mailbox that were not renewed since `then`. True if none is left.
    pub fn leave_stale(&self, channel: &ChannelName, then: Instant) -> bool {
        let Some(mut inhabitant) = self.0.mailboxes.get_mut(channel) else { return true };
        let stale = inhabitant.memberships.take_older_than(then);
        let none_left = inhabitant.memberships.is_empty();
        drop(inhabitant);
        self.0.end(stale);
        none_left
    }

    /// Warns that members of groups were full and missed a message, if any were: at most once a second for each group.
    /// For layers that know more than what was delivered here; what the hub delivers, it warns about itself.
    pub fn warn_of_full<'a>(&self, groups: impl IntoIterator<Item = &'a GroupName>, deliveries: &Deliveries) {
        self.0.totals.warn_of_full(groups, deliveries);
    }

    fn group(&self, name: &GroupName) -> Option<Arc<Group>> {
        self.0.groups.get(name).map(|group| group.clone())
    }

    fn sender(&self, channel: &ChannelName) -> Option<MailboxSender> {
        self.0.mailboxes.get(channel).map(|inhabitant| inhabitant.sender.clone())
    }

    fn walk(&self, to: &Audience) -> Walk {
        let except = to.excepted().and_then(|channel| self.sender(channel));
        Walk::new(to.groups().filter_map(|name| self.group(name)).collect(), except)
    }

    fn totals(&self) -> Arc<Totals> {
        self.0.totals.clone()
    }

    /// Ends all memberships.
    pub fn leave_all(&self) {
        let channels: Vec<_> = self.0.mailboxes.iter().map(|entry| entry.key().clone()).collect();
        for channel in channels {
            self.leave_groups_of(&channel);
        }
    }

    /// Ends all memberships of one mailbox.
    pub fn leave_groups_of(&self, channel: &ChannelName) {
        let taken = self.0.mailboxes.get_mut(channel).map(|mut member| member.memberships.take_all());
        self.0.end(taken.unwrap_or_default());
    }

    /// Drops what waits in the mailboxes.
    pub fn discard_messages(&self) {
        let senders: Vec<_> = self.0.mailboxes.iter().map(|entry| entry.sender.clone()).collect();
        senders.iter().for_each(|sender| sender.flush());
    }

    /// Mailboxes that are open.
    pub fn mailbox_count(&self) -> usize {
        self.0.mailboxes.len()
    }

    /// Groups that have members.
    pub fn group_count(&self) -> usize {
        self.0.groups.len()
    }

    /// Members of one group.
    pub fn member_count(&self, group: &GroupName) -> usize {
        self.0.groups.get(group).map_or(0, |group| group.len())
    }
}

/// What there is, at this moment.
impl Hub {
    /// Are both clones of the same hub?
    pub fn same_hub(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The groups that have members.
    pub fn groups(&self) -> Vec<GroupName> {
        self.0.groups.iter().map(|entry| entry.key().clone()).collect()
    }

    /// The groups that a mailbox is in.
    pub fn groups_of(&self, channel: &ChannelName) -> Vec<GroupName> {
        self.0.mailboxes.get(channel).map(|inhabitant| inhabitant.memberships.names()).unwrap_or_default()
    }

    /// The mailboxes in a group.
    pub fn members(&self, group: &GroupName) -> Vec<ChannelName> {
        self.group(group).map(|group| group.channels()).unwrap_or_default()
    }

    /// What became of all messages that were offered to mailboxes here, closed ones included.
    ///
    /// Visits every open mailbox. The sums agree; while messages are under way, they are of slightly different
    /// moments.
    pub fn ledger(&self) -> Ledger {
        let senders: Vec<_> = self.0.mailboxes.iter().map(|entry| entry.sender.clone()).collect();
        let mut ledger = self.0.totals.ledger();
        senders.iter().for_each(|sender| ledger += sender.ledger());
        ledger
    }
}

impl Rooms {
    fn end(&self, memberships: Memberships) {
        for (group, membership) in memberships {
            membership.end();
            self.forget_if_empty(&group);
        }
    }

    fn forget_if_empty(&self, group: &GroupName) {
        let emptied = self.groups.remove_if(group, |_, group| group.len() == 0).is_some();
        // No map is locked any more: the observer may ask the hub.
        if emptied && let Some(observer) = self.observer.get() {
            observer.group_emptied(group);
        }
    }
}

impl MailboxOwner for Rooms {
    fn mailbox_closed(&self, channel: &ChannelName) {
        if let Some((_, inhabitant)) = self.mailboxes.remove(channel) {
            self.totals.mailbox_closed(inhabitant.sender.ledger());
            self.end(inhabitant.memberships);
            if let Some(observer) = self.observer.get() {
                observer.mailbox_closed(channel);
            }
        }
    }
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("mailboxes", &self.mailboxes.len())
            .field("groups", &self.groups.len())
            .finish()
    }
}

#[cfg(all(test, shuttle))]
mod models;
#[cfg(test)]
mod tests;
