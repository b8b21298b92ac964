//! Counts of a hub that no open mailbox keeps, and warnings about full members.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    layer::Deliveries,
    mailbox::{Dropped, Ledger, metrics},
    name::GroupName,
    sync::{Mutex, lock},
    warnings::Warnings,
};

/// The number of groups whose last report is remembered.
const REMEMBERED: usize = 512;

/// The number of further groups that a report names.
const NAMED: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Totals {
    /// The sums of the mailboxes that have closed. Written once per mailbox, so a lock will do.
    closed_mailboxes: Mutex<Ledger>,
    /// Messages to mailboxes that had just closed. A count alone, so relaxed.
    too_late: AtomicU64,
    /// Messages that selections kept from members. A count alone, so relaxed.
    filtered: AtomicU64,
    warnings: Warnings<GroupName, REMEMBERED>,
}

impl Totals {
    pub(super) fn mailbox_closed(&self, ledger: Ledger) {
        *lock(&self.closed_mailboxes) += ledger;
    }

    pub(super) fn missed(&self, messages: usize) {
        if messages > 0 {
            self.too_late.fetch_add(messages as u64, Relaxed);
        }
    }

    /// Counts the outcome of a message to groups, and warns of full members.
    pub(super) fn account<'a>(
        &self,
        groups: impl IntoIterator<Item = &'a GroupName>,
        deliveries: &Deliveries,
    ) {
        self.missed(deliveries.closed);
        if deliveries.filtered > 0 {
            self.filtered.fetch_add(deliveries.filtered as u64, Relaxed);
            metrics::filtered(deliveries.filtered as u64);
        }
        self.warn_of_full(groups, deliveries);
    }

    /// The account of all messages that no open mailbox counts itself.
    pub(super) fn ledger(&self) -> Ledger {
        let mut ledger = *lock(&self.closed_mailboxes);
        let too_late = self.too_late.load(Relaxed);
        ledger.offered += too_late;
        ledger.filtered += self.filtered.load(Relaxed);
        ledger.dropped += Dropped { closed: too_late, ..Dropped::default() };
        ledger
    }

    /// Warns that members missed a message, at most once a second for each group. A message to several groups
    /// counts for the first.
    pub(super) fn warn_of_full<'a>(
        &self,
        groups: impl IntoIterator<Item = &'a GroupName>,
        deliveries: &Deliveries,
    ) {
        let &Deliveries { full, matched, .. } = deliveries;
        let mut groups = groups.into_iter();
        if full == 0 {
            return;
        }
        let Some(group) = groups.next() else { return };
        let since_last = self.warnings.add(group, full as u64);
        if let Some(since_last) = since_last {
            let more: Vec<_> = groups.take(NAMED).map(GroupName::as_str).collect();
            let more = (!more.is_empty()).then(|| more.join(", "));
            tracing::warn!(%group, more, full, matched, since_last, "members of a group were full and missed a message");
        }
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use ::metrics::with_local_recorder;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    #[test]
    fn filtered_messages_are_metered() {
        let recorder = DebuggingRecorder::new();
        let totals = Totals::default();
        with_local_recorder(&recorder, || {
            for filtered in [0, 2, 3] {
                totals.account([], &Deliveries { matched: 5, filtered, ..Deliveries::default() });
            }
        });
        let counted: Vec<_> = recorder.snapshotter().snapshot().into_vec();
        let counted: Vec<_> = counted.iter().map(|(key, _, _, value)| (key.key().name(), value)).collect();
        assert_eq!(counted, [("channel_layer_messages_filtered_total", &DebugValue::Counter(5))]);
        assert_eq!(totals.ledger().filtered, 5);
    }
}
