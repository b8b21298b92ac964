//! Log lines whose rate and content clients cannot abuse: at most one per second for each kind of failure, and no control
//! characters.

use std::{
    borrow::Cow,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::Mutex,
    time::Duration,
};

use percent_encoding::{CONTROLS, utf8_percent_encode};
use tokio::time::Instant;

use crate::sync::lock;

/// The interval between two lines about the same kind of failure: in a busy group each message may fail.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of kinds that are counted separately within that time. All others count as one: the texts of errors may differ
/// without bound.
const KINDS: usize = 16;

/// The limit of one line per second, with a count of the occurrences since the last line.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<Occurrences>);

#[derive(Debug, Default)]
struct Occurrences {
    last_line: Option<Instant>,
    count: u64,
}

impl Occurrences {
    fn add(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.count += count;
        if self.is_recent(now) {
            return None;
        }
        self.last_line = Some(now);
        Some(std::mem::take(&mut self.count))
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.last_line.is_some_and(|last| now < last + INTERVAL)
    }
}

impl LogLimit {
    /// Counts one occurrence. If a line is due, returns the number of occurrences since the last one.
    pub(crate) fn count(&self) -> Option<u64> {
        self.count_by(1)
    }

    /// Counts several occurrences.
    pub(crate) fn count_by(&self, count: u64) -> Option<u64> {
        lock(&self.0).add(count, Instant::now())
    }
}

/// The kinds of failures that were logged recently, each with its own limit. One per service, shared by its connections.
#[derive(Debug, Default)]
pub(crate) struct FailureReports(Mutex<Vec<FailureKind>>);

#[derive(Debug)]
struct FailureKind {
    hash: u64,
    occurrences: Occurrences,
}

impl FailureReports {
    /// Counts a failure. If a line about its kind is due, returns the number of failures since the last one.
    pub(crate) fn due(&self, kind: impl Hash) -> Option<u64> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(kind);
        let now = Instant::now();
        // Locked for a search among a few entries; only failures come here.
        let mut kinds = lock(&self.0);
        let known = kinds.iter().position(|kind| kind.hash == hash);
        let index = known.or_else(|| {
            if kinds.len() >= KINDS {
                kinds.retain(|kind| kind.occurrences.is_recent(now));
            }
            // The last entry is shared by all kinds that find no other.
            (kinds.len() >= KINDS).then_some(KINDS - 1)
        });
        if let Some(kind) = index.and_then(|index| kinds.get_mut(index)) {
            return kind.occurrences.add(1, now);
        }
        let mut kind = FailureKind { hash, occurrences: Occurrences::default() };
        let count = kind.occurrences.add(1, now);
        kinds.push(kind);
        count
    }
}

/// Returns a path for a line of the log. Some clients send their text as it is instead of percent-encoded, and UTF-8 has
/// control characters too that a terminal obeys.
pub(crate) fn printable(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, CONTROLS).into()
}

/// Returns the text of an error as one line: errors may quote clients.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_second() {
        let limit = LogLimit::default();
        assert_eq!(limit.count(), Some(1));
        assert_eq!((limit.count(), limit.count_by(5)), (None, None));
        tokio::time::advance(INTERVAL).await;
        assert_eq!((limit.count(), limit.count()), (Some(7), None));
    }

    #[tokio::test(start_paused = true)]
    async fn counts_each_kind() {
        let log = FailureReports::default();
        assert_eq!((log.due("a"), log.due("a"), log.due("b")), (Some(1), None, Some(1)));
        tokio::time::advance(INTERVAL).await;
        assert_eq!((log.due("a"), log.due("a")), (Some(2), None));
    }

    #[tokio::test(start_paused = true)]
    async fn endless_kinds_are_few_lines() {
        let log = FailureReports::default();
        let lines = (0..10_000).filter_map(|kind| log.due(kind)).count();
        assert_eq!(lines, KINDS);
        tokio::time::advance(INTERVAL).await;
        let counted: u64 = (0..10_000).filter_map(|kind| log.due(kind)).sum();
        assert!(counted >= KINDS as u64, "{counted}");
        assert!(log.0.lock().unwrap().len() <= KINDS);
    }
}
