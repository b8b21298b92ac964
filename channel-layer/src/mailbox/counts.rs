//! The running counts of one mailbox.

use super::{
    ledger::{Dropped, Ledger},
    metrics,
    reason::DropReason,
};

/// The counts behind a [`Ledger`], under the mailbox's lock: plain additions, no atomics on the hot path.
#[derive(Default)]
pub(super) struct Counts {
    offered: u64,
    delivered: u64,
    /// Boxed, because most mailboxes never drop anything and all pay for their size.
    dropped: Option<Box<Dropped>>,
}

impl Counts {
    pub(super) fn offer(&mut self, messages: usize) {
        self.offered += messages as u64;
        metrics::offered(messages as u64);
    }

    pub(super) fn deliver(&mut self, messages: usize) {
        self.delivered += messages as u64;
        metrics::delivered(messages as u64);
    }

    pub(super) fn drop(&mut self, reason: DropReason, messages: usize) {
        if messages > 0 {
            *self.dropped.get_or_insert_default().count_mut(reason) += messages as u64;
            metrics::dropped(reason, messages as u64);
        }
    }

    pub(super) fn ledger(&self, queued: usize) -> Ledger {
        Ledger {
            offered: self.offered,
            delivered: self.delivered,
            queued: queued as u64,
            dropped: self.dropped.as_deref().copied().unwrap_or_default(),
            filtered: 0,
        }
    }
}
