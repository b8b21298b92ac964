//! Rate limits of warnings: a failure that occurs with every message must not fill the log.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

use crate::sync::{Mutex, lock};

/// The shortest time between two warnings of one kind.
const INTERVAL: Duration = Duration::from_secs(1);

/// The number of events since the last warning of one kind.
#[derive(Debug, Default)]
pub(crate) struct WarningLimit {
    last: Option<Instant>,
    unreported: u64,
}

impl WarningLimit {
    /// Counts events. Returns the number of events since the last warning, these included, if a warning is due.
    pub(crate) fn add(&mut self, events: u64) -> Option<u64> {
        self.unreported += events;
        let now = Instant::now();
        if self.is_recent(now) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now < last + INTERVAL)
    }
}

/// Warnings by kind, at most one a second of each. The number of kinds is bounded, because they may come from messages
/// and servers: beyond `MOST`, further kinds share one limit.
#[derive(Debug)]
pub(crate) struct Warnings<K, const MOST: usize> {
    /// Held for a map access.
    limits: Mutex<WarningLimits<K>>,
}

#[derive(Debug)]
struct WarningLimits<K> {
    kinds: HashMap<K, WarningLimit>,
    /// The limit that all further kinds share.
    others: WarningLimit,
}

impl<K: Clone + Eq + Hash, const MOST: usize> Warnings<K, MOST> {
    /// Counts events of a kind. Returns the number of events since its last warning if a warning is due.
    pub(crate) fn add(&self, kind: &K, events: u64) -> Option<u64> {
        let WarningLimits { kinds, others } = &mut *lock(&self.limits);
        if !kinds.contains_key(kind) && kinds.len() >= MOST {
            let now = Instant::now();
            kinds.retain(|_, limit| {
                let is_recent = limit.is_recent(now);
                if !is_recent {
                    others.unreported += limit.unreported; // counted with the next warning of the others
                }
                is_recent
            });
        }
        let is_full = kinds.len() >= MOST;
        match kinds.get_mut(kind) {
            Some(limit) => limit.add(events),
            None if is_full => others.add(events),
            None => kinds.entry(kind.clone()).or_default().add(events),
        }
    }
}

impl<K, const MOST: usize> Default for Warnings<K, MOST> {
    fn default() -> Self {
        let limits = WarningLimits { kinds: HashMap::new(), others: WarningLimit::default() };
        Self { limits: Mutex::new(limits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64;

    #[tokio::test(start_paused = true)]
    async fn warns_once_a_second() {
        let mut limit = WarningLimit::default();
        assert_eq!([1, 1, 1].map(|events| limit.add(events)), [Some(1), None, None]);
        tokio::time::advance(INTERVAL).await;
        assert_eq!([1, 1].map(|events| limit.add(events)), [Some(3), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn warns_once_a_second_per_kind() {
        let warnings = Warnings::<_, MOST>::default();
        assert_eq!((warnings.add(&("a", "OOM"), 1), warnings.add(&("a", "OOM"), 1)), (Some(1), None));
        assert_eq!((warnings.add(&("a", "NOPERM"), 1), warnings.add(&("b", "OOM"), 1)), (Some(1), Some(1)));
        tokio::time::advance(INTERVAL).await;
        assert_eq!(warnings.add(&("a", "OOM"), 1), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn counts_events_per_kind() {
        let warnings = Warnings::<_, MOST>::default();
        assert_eq!((warnings.add(&"g", 3), warnings.add(&"g", 4)), (Some(3), None));
        assert_eq!((warnings.add(&"h", 2), warnings.add(&"h", 1)), (Some(2), None));
        tokio::time::advance(INTERVAL).await;
        assert_eq!((warnings.add(&"g", 1), warnings.add(&"h", 1)), (Some(5), Some(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_bounded() {
        let warnings = Warnings::<u32, MOST>::default();
        let written = (0..2000).filter(|kind| warnings.add(kind, 1).is_some()).count();
        assert_eq!((written, lock(&warnings.limits).kinds.len()), (MOST + 1, MOST));
    }

    #[tokio::test(start_paused = true)]
    async fn forgets_stale_kinds() {
        let warnings = Warnings::<u32, MOST>::default();
        for kind in 0..2000 {
            warnings.add(&kind, 1);
        }
        tokio::time::advance(INTERVAL).await;
        assert_eq!((warnings.add(&9999, 1), lock(&warnings.limits).kinds.len()), (Some(1), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn forgotten_kinds_stay_counted() {
        let warnings = Warnings::<u32, 1>::default();
        assert_eq!((warnings.add(&1, 1), warnings.add(&1, 5)), (Some(1), None));
        tokio::time::advance(INTERVAL).await;
        assert_eq!(warnings.add(&2, 1), Some(1), "takes the place of the first");
        assert_eq!(warnings.add(&3, 1), Some(6), "the others, with what the first left");
    }
}
