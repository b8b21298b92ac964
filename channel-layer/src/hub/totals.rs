//! Counts of a hub that no open mailbox keeps, and warnings about full members.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    layer::Deliveries,
    mailbox::{Dropped, Ledger},
    name::GroupName,
    sync::{Mutex, lock},
};

/// The time between two reports about full mailboxes of a group: in a busy group they are full at every message.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

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
    warnings: Mutex<FullWarnings>,
}

#[derive(Debug, Default)]
struct FullWarnings {
    groups: HashMap<GroupName, Recent>,
    /// All groups beyond those together.
    others: Recent,
}

#[derive(Debug, Default)]
struct Recent {
    last: Option<Instant>,
    /// Messages refused since then.
    unreported: usize,
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
        self.warn_of_full(groups, deliveries);
    }

    /// The account of all messages that no open mailbox counts itself.
    pub(super) fn ledger(&self) -> Ledger {
        let mut ledger = *lock(&self.closed_mailboxes);
        let too_late = self.too_late.load(Relaxed);
        ledger.offered += too_late;
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
        let since_last = lock(&self.warnings).add(group, full);
        if let Some(since_last) = since_last {
            let more: Vec<_> = groups.take(NAMED).map(GroupName::as_str).collect();
            let more = (!more.is_empty()).then(|| more.join(", "));
            tracing::warn!(%group, more, full, matched, since_last, "members of a group were full and missed a message");
        }
    }
}

impl FullWarnings {
    /// Adds missed messages. Returns their number since the last report about this group if the next report
    /// is due.
    fn add(&mut self, group: &GroupName, full: usize) -> Option<usize> {
        let now = Instant::now();
        let is_recent = |last: Option<Instant>| last.is_some_and(|last| now < last + WARNING_INTERVAL);
        if !self.groups.contains_key(group) && self.groups.len() >= REMEMBERED {
            self.groups.retain(|_, recent| is_recent(recent.last));
        }
        let is_at_limit = self.groups.len() >= REMEMBERED;
        let recent = match self.groups.get_mut(group) {
            Some(recent) => recent,
            None if is_at_limit => &mut self.others,
            None => self.groups.entry(group.clone()).or_default(),
        };
        recent.unreported += full;
        if is_recent(recent.last) {
            return None;
        }
        recent.last = Some(now);
        Some(std::mem::take(&mut recent.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> GroupName {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn reports_once_a_second_per_group() {
        let (mut warnings, g, h) = (FullWarnings::default(), group("g"), group("h"));
        assert_eq!((warnings.add(&g, 3), warnings.add(&g, 4)), (Some(3), None));
        assert_eq!((warnings.add(&h, 2), warnings.add(&h, 1)), (Some(2), None));
        tokio::time::advance(WARNING_INTERVAL).await;
        assert_eq!((warnings.add(&g, 1), warnings.add(&h, 1)), (Some(5), Some(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_and_log_are_bounded() {
        let mut warnings = FullWarnings::default();
        let reports = (0..2000).filter(|n| warnings.add(&group(&format!("g{n}")), 1).is_some()).count();
        assert_eq!((reports, warnings.groups.len()), (REMEMBERED + 1, REMEMBERED));
        tokio::time::advance(WARNING_INTERVAL).await;
        assert_eq!((warnings.add(&group("new"), 1), warnings.groups.len()), (Some(1), 1));
    }
}
