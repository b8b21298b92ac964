//! What one process has done with its messages so far.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    layer::Deliveries,
    mailbox::{Dropped, Ledger},
    sync::{Mutex, PoisonError},
};

/// How often full mailboxes are reported, at most: in a busy room it happens at every message.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Totals {
    /// The sums of the mailboxes that have closed. Written once per mailbox, so a lock will do.
    closed_mailboxes: Mutex<Ledger>,
    /// Messages that came when their mailbox had just closed. Counts only, so relaxed.
    too_late: AtomicU64,
    warnings: Mutex<Warnings>,
}

#[derive(Debug, Default)]
struct Warnings {
    last: Option<Instant>,
    /// Refused since then.
    unreported: usize,
}

impl Totals {
    pub(super) fn mailbox_closed(&self, ledger: Ledger) {
        *self.closed_mailboxes.lock().unwrap_or_else(PoisonError::into_inner) += ledger;
    }

    pub(super) fn missed(&self, messages: usize) {
        if messages > 0 {
            self.too_late.fetch_add(messages as u64, Relaxed);
        }
    }

    /// What became of a message to a group.
    pub(super) fn account(&self, deliveries: &Deliveries) {
        self.missed(deliveries.closed);
        if deliveries.full > 0 {
            self.warn_of_full(deliveries.full, deliveries.matched);
        }
    }

    /// All that no open mailbox counts itself.
    pub(super) fn ledger(&self) -> Ledger {
        let mut ledger = *self.closed_mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let too_late = self.too_late.load(Relaxed);
        ledger.offered += too_late;
        ledger.dropped += Dropped { closed: too_late, ..Dropped::default() };
        ledger
    }

    /// Says that members missed a message, at most once a second.
    fn warn_of_full(&self, full: usize, matched: usize) {
        let Some(since_last) = self.warnings.lock().unwrap_or_else(PoisonError::into_inner).add(full) else {
            return;
        };
        tracing::warn!(full, matched, since_last, "members of a group were full and missed a message");
    }
}

impl Warnings {
    /// How many there were since the last report, if it is time for the next one.
    fn add(&mut self, full: usize) -> Option<usize> {
        self.unreported += full;
        let now = Instant::now();
        if self.last.is_some_and(|last| now < last + WARNING_INTERVAL) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn full_mailboxes_are_reported_once_a_second_with_all_that_was_refused() {
        let mut warnings = Warnings::default();
        assert_eq!((warnings.add(3), warnings.add(4)), (Some(3), None));
        tokio::time::advance(WARNING_INTERVAL).await;
        assert_eq!(warnings.add(1), Some(5));
    }
}
