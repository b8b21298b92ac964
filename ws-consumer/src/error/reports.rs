//! The rate at which failures are logged.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Time between two lines about the same kind of failure: in a busy room each message may fail.
const INTERVAL: Duration = Duration::from_secs(1);
/// Kinds that are told apart within that time. All others count as one: texts of errors may differ without bound.
const KINDS: usize = 16;

/// The kinds of failures that have been logged lately, and the number of those suppressed. One per service,
/// shared by its connections.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<Vec<Kind>>);

#[derive(Debug)]
struct Kind {
    hash: u64,
    last: Instant,
    left_out: u64,
}

impl Reports {
    /// The number of failures of this kind since its last line, if it is time for the next one.
    pub(crate) fn due(&self, kind: impl Hash) -> Option<u64> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(kind);
        let now = Instant::now();
        let is_recent = |kind: &Kind| now < kind.last + INTERVAL;
        // Locked for a walk over a few entries; only failures come here.
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kinds.iter().position(|kind| kind.hash == hash);
        let place = known.or_else(|| {
            if kinds.len() >= KINDS {
                kinds.retain(is_recent);
            }
            // The last place is shared by all that find no other.
            (kinds.len() >= KINDS).then_some(KINDS - 1)
        });
        let Some(kind) = place.and_then(|place| kinds.get_mut(place)) else {
            kinds.push(Kind { hash, last: now, left_out: 0 });
            return Some(1);
        };
        kind.left_out += 1;
        if is_recent(kind) {
            return None;
        }
        kind.last = now;
        Some(std::mem::take(&mut kind.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kind_is_logged_once_a_second_and_counted() {
        let reports = Reports::default();
        assert_eq!((reports.due("a"), reports.due("a"), reports.due("b")), (Some(1), None, Some(1)));
        tokio::time::advance(INTERVAL).await;
        assert_eq!((reports.due("a"), reports.due("a")), (Some(2), None));
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_without_end_are_few_lines() {
        let reports = Reports::default();
        let lines = (0..10_000).filter_map(|kind| reports.due(kind)).count();
        assert_eq!(lines, KINDS);
        tokio::time::advance(INTERVAL).await;
        let told: u64 = (0..10_000).filter_map(|kind| reports.due(kind)).sum();
        assert!(told >= KINDS as u64, "{told}");
        assert!(reports.0.lock().unwrap().len() <= KINDS);
    }
}
