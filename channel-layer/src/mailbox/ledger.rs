//! The account of every message.

use std::ops::AddAssign;

use super::reason::DropReason;

/// The account of all messages that were offered to one mailbox, or to all mailboxes of a process.
///
/// A message to a group counts once for each member. It always holds that
/// offered = delivered + queued + [dropped](Dropped::total).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Messages that were offered to a mailbox.
    pub offered: u64,
    /// Messages that the owner of the mailbox has received.
    pub delivered: u64,
    /// Messages in the mailbox.
    pub queued: u64,
    /// Messages that were dropped, by reason.
    pub dropped: Dropped,
    /// Messages to a group that a member's [selection](crate::Selection) left out. They were not offered, and are only
    /// counted for all mailboxes of a process together.
    pub filtered: u64,
}

/// Messages that were not received, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Messages offered to a closed mailbox, or still in it when it closed.
    pub closed: u64,
    /// Messages that made room for a newer one, under [`DropOldest`](crate::OverflowPolicy::DropOldest) or
    /// [`KeepLatest`](crate::OverflowPolicy::KeepLatest).
    pub evicted: u64,
    /// Messages that expired.
    pub expired: u64,
    /// Messages dropped by [`flush`](crate::ChannelLayer::flush).
    pub flushed: u64,
    /// Messages refused by a full mailbox.
    pub full: u64,
    /// Messages replaced by a newer one with the same key, under [`KeepLatest`](crate::OverflowPolicy::KeepLatest).
    pub replaced: u64,
}

impl Ledger {
    /// Whether the sums agree.
    pub fn is_balanced(&self) -> bool {
        self.offered == self.delivered + self.queued + self.dropped.total()
    }
}

impl Dropped {
    /// The sum of all reasons.
    pub fn total(&self) -> u64 {
        let Self { closed, evicted, expired, flushed, full, replaced } = self;
        closed + evicted + expired + flushed + full + replaced
    }

    pub(super) fn count_mut(&mut self, reason: DropReason) -> &mut u64 {
        match reason {
            DropReason::Closed => &mut self.closed,
            DropReason::Evicted => &mut self.evicted,
            DropReason::Expired => &mut self.expired,
            DropReason::Flushed => &mut self.flushed,
            DropReason::Full => &mut self.full,
            DropReason::Replaced => &mut self.replaced,
        }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.offered += other.offered;
        self.delivered += other.delivered;
        self.queued += other.queued;
        self.dropped += other.dropped;
        self.filtered += other.filtered;
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.closed += other.closed;
        self.evicted += other.evicted;
        self.expired += other.expired;
        self.flushed += other.flushed;
        self.full += other.full;
        self.replaced += other.replaced;
    }
}
