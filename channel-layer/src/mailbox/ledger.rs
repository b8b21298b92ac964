//! Every message is accounted for.

use std::ops::AddAssign;

use super::meter;

/// What became of the messages that were offered to one mailbox, or to all mailboxes of a process.
///
/// A message to a group counts once for each member. It always holds that
/// offered = delivered + queued + [dropped](Dropped::total).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Brought to a mailbox.
    pub offered: u64,
    /// Taken out by the mailbox's owner.
    pub delivered: u64,
    /// Waiting.
    pub queued: u64,
    /// Neither of these, by reason.
    pub dropped: Dropped,
}

/// Messages that nobody received, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The mailbox closed: before the message came, or before it was taken out.
    pub closed: u64,
    /// Made room for a newer one, under [`DropOldest`](crate::OverflowPolicy::DropOldest) or
    /// [`KeepLatest`](crate::OverflowPolicy::KeepLatest).
    pub evicted: u64,
    /// Waited for too long.
    pub expired: u64,
    /// Dropped by [`flush`](crate::ChannelLayer::flush).
    pub flushed: u64,
    /// Refused by a full mailbox.
    pub full: u64,
    /// Replaced by a newer one with the same key, under [`KeepLatest`](crate::OverflowPolicy::KeepLatest).
    pub replaced: u64,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Closed,
    Evicted,
    Expired,
    Flushed,
    Full,
    Replaced,
}

impl Ledger {
    /// Do the sums agree?
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

    fn of(&mut self, reason: Reason) -> &mut u64 {
        match reason {
            Reason::Closed => &mut self.closed,
            Reason::Evicted => &mut self.evicted,
            Reason::Expired => &mut self.expired,
            Reason::Flushed => &mut self.flushed,
            Reason::Full => &mut self.full,
            Reason::Replaced => &mut self.replaced,
        }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.offered += other.offered;
        self.delivered += other.delivered;
        self.queued += other.queued;
        self.dropped += other.dropped;
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

/// The running counts of one mailbox, under its lock: plain additions, no atomics on the hot path.
#[derive(Default)]
pub(super) struct Counts {
    offered: u64,
    delivered: u64,
    /// Boxed, because most mailboxes never drop anything and all pay for their size.
    dropped: Option<Box<Dropped>>,
}

impl Counts {
    pub(super) fn offer(&mut self) {
        self.offered += 1;
        meter::offered(1);
    }

    pub(super) fn deliver(&mut self, messages: usize) {
        self.delivered += messages as u64;
        meter::delivered(messages as u64);
    }

    pub(super) fn drop(&mut self, reason: Reason, messages: usize) {
        if messages > 0 {
            *self.dropped.get_or_insert_default().of(reason) += messages as u64;
            meter::dropped(reason, messages as u64);
        }
    }

    pub(super) fn ledger(&self, queued: usize) -> Ledger {
        Ledger {
            offered: self.offered,
            delivered: self.delivered,
            queued: queued as u64,
            dropped: self.dropped.as_deref().copied().unwrap_or_default(),
        }
    }
}
