//! The mailboxes and groups of one process, by their names.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use dashmap::{DashMap, mapref::entry::Entry};
use tokio::time::Instant;

use super::{group::Group, memberships::Memberships, totals::Totals};
use crate::{
    layer::Deliveries,
    mailbox::{Delivery, Ledger, Mailbox, MailboxLimits, MailboxOwner, MailboxSender, Refusal},
    name::{ChannelName, GroupName},
    selection::Selection,
};

/// An observer of the groups and mailboxes of a [`Hub`].
pub trait GroupObserver: Send + Sync + 'static {
    /// Called when a group has lost its last member; by the time of the call it may have a new one. Runs where the
    /// member left, in a mailbox's `Drop` too: it must not wait or panic.
    fn group_emptied(&self, group: &GroupName);

    /// Called when a mailbox was closed. Runs in its `Drop`: it must not wait or panic.
    fn mailbox_closed(&self, channel: &ChannelName) {
        let _ = channel;
    }
}

/// The mailboxes and groups of one process. Clones share them.
///
/// No method waits, so a driver's callback may call any of them; only [`broadcast`](Self::broadcast) gives other tasks a
/// turn.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<HubMaps>);

/// The maps of a hub. They never leave this file, no function here returns a guard, and none waits (a test checks): a
/// dashmap guard held over an `.await` compiles, and freezes all other tasks.
///
/// The order of locks: `mailboxes`, then `groups`.
#[derive(Default)]
struct HubMaps {
    mailboxes: DashMap<ChannelName, OpenMailbox>,
    groups: DashMap<GroupName, Arc<Group>>,
    totals: Arc<Totals>,
    /// Set at most once, before the first group.
    observer: OnceLock<Arc<dyn GroupObserver>>,
}

struct OpenMailbox {
    sender: MailboxSender,
    /// The reverse index: the groups that a closing mailbox has to leave.
    memberships: Memberships,
}

impl Hub {
    /// Creates an empty hub.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the observer. False if there is one already.
    ///
    /// The hub keeps it: an observer that owned the hub in turn would keep both forever.
    pub fn observe(&self, observer: Arc<dyn GroupObserver>) -> bool {
        self.0.observer.set(observer).is_ok()
    }

    /// Opens a mailbox under this name; `None` if the name is taken.
    ///
    /// When the mailbox is dropped, the hub forgets it and its memberships.
    pub fn open(&self, channel: ChannelName, limits: impl Into<MailboxLimits>) -> Option<Mailbox> {
        match self.0.mailboxes.entry(channel.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => {
                let mailbox = Mailbox::new(channel, limits, Some(self.0.clone()));
                let sender = mailbox.sender().clone();
                vacant.insert(OpenMailbox { sender, memberships: Memberships::default() });
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

    /// Whether this mailbox is open here.
    pub fn contains(&self, channel: &ChannelName) -> bool {
        self.0.mailboxes.contains_key(channel)
    }

    /// Adds a mailbox to a group, in constant time, for all messages. False if no such mailbox is open here.
    pub fn join(&self, group: &GroupName, channel: &ChannelName) -> bool {
        self.join_selecting(group, channel, &Selection::All)
    }

    /// Adds a mailbox to a group, for a part of its messages; a member changes its selection. False if no such mailbox is
    /// open here.
    ///
    /// The summaries of [passive](Selection::Passive) members need a runtime of tokio with a timer where messages are sent.
    pub fn join_selecting(&self, group: &GroupName, channel: &ChannelName, selection: &Selection) -> bool {
        let Some(mut entry) = self.0.mailboxes.get_mut(channel) else { return false };
        let OpenMailbox { sender, memberships } = &mut *entry;
        let (now, totals) = (Instant::now(), &self.0.totals);
        if let Some((group, slot)) = memberships.renew(group, now) {
            group.select(slot, selection, totals);
            return true;
        }
        // Joins while the entry is held: an empty group is only removed under the same lock.
        let make = || Arc::new(Group::new(group.clone()));
        let joined = self.0.groups.entry(group.clone()).or_insert_with(make);
        let slot = joined.join_selecting(sender.clone(), selection, totals);
        memberships.insert(group, joined.clone(), slot, now);
        true
    }

    /// Takes a mailbox out of a group, if it is a member.
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
        let Some(mut entry) = self.0.mailboxes.get_mut(channel) else { return true };
        let stale = entry.memberships.take_older_than(then);
        let none_left = entry.memberships.is_empty();
        drop(entry);
        self.0.end(stale);
        none_left
    }

    /// Warns that members of groups were full and missed a message, if any were: at most once a second for each group.
    /// For layers that learn of such members elsewhere; the hub warns about its own deliveries itself.
    pub fn warn_of_full<'a>(&self, groups: impl IntoIterator<Item = &'a GroupName>, deliveries: &Deliveries) {
        self.0.totals.warn_of_full(groups, deliveries);
    }

    pub(super) fn group(&self, name: &GroupName) -> Option<Arc<Group>> {
        self.0.groups.get(name).map(|group| group.clone())
    }

    pub(super) fn sender(&self, channel: &ChannelName) -> Option<MailboxSender> {
        self.0.mailboxes.get(channel).map(|entry| entry.sender.clone())
    }

    pub(super) fn totals(&self) -> Arc<Totals> {
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

    /// Drops all messages in the mailboxes.
    pub fn discard_messages(&self) {
        let senders: Vec<_> = self.0.mailboxes.iter().map(|entry| entry.sender.clone()).collect();
        senders.iter().for_each(|sender| sender.flush());
    }

    /// The number of open mailboxes.
    pub fn mailbox_count(&self) -> usize {
        self.0.mailboxes.len()
    }

    /// The number of groups that have members.
    pub fn group_count(&self) -> usize {
        self.0.groups.len()
    }

    /// The number of members of one group.
    pub fn member_count(&self, group: &GroupName) -> usize {
        self.0.groups.get(group).map_or(0, |group| group.len())
    }
}

/// Snapshots.
impl Hub {
    /// Whether both are clones of the same hub.
    pub fn same_hub(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The groups that have members.
    pub fn groups(&self) -> Vec<GroupName> {
        self.0.groups.iter().map(|entry| entry.key().clone()).collect()
    }

    /// The groups that a mailbox is in.
    pub fn groups_of(&self, channel: &ChannelName) -> Vec<GroupName> {
        self.0.mailboxes.get(channel).map(|entry| entry.memberships.names()).unwrap_or_default()
    }

    /// The mailboxes in a group.
    pub fn members(&self, group: &GroupName) -> Vec<ChannelName> {
        self.group(group).map(|group| group.channels()).unwrap_or_default()
    }

    /// The account of all messages that were offered to mailboxes here, closed ones included.
    ///
    /// Visits every open mailbox. The sums agree; while messages are being sent, they are of slightly different moments.
    pub fn ledger(&self) -> Ledger {
        let senders: Vec<_> = self.0.mailboxes.iter().map(|entry| entry.sender.clone()).collect();
        let mut ledger = self.0.totals.ledger();
        senders.iter().for_each(|sender| ledger += sender.ledger());
        ledger
    }
}

impl HubMaps {
    fn end(&self, memberships: Memberships) {
        for (group, membership) in memberships {
            membership.end();
            self.forget_if_empty(&group);
        }
    }

    fn forget_if_empty(&self, group: &GroupName) {
        let emptied = self.groups.remove_if(group, |_, group| group.len() == 0).is_some();
        // No map is locked any more: the observer may call the hub.
        if emptied && let Some(observer) = self.observer.get() {
            observer.group_emptied(group);
        }
    }
}

impl MailboxOwner for HubMaps {
    fn mailbox_closed(&self, channel: &ChannelName) {
        if let Some((_, entry)) = self.mailboxes.remove(channel) {
            self.totals.mailbox_closed(entry.sender.ledger());
            self.end(entry.memberships);
            if let Some(observer) = self.observer.get() {
                observer.mailbox_closed(channel);
            }
        }
    }
}

impl fmt::Debug for HubMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("mailboxes", &self.mailboxes.len())
            .field("groups", &self.groups.len())
            .finish()
    }
}
