//! Warnings by kind, at most one a second of each: a failure of every message must not fill the log.

use std::collections::HashMap;

use super::pace::Pace;

use crate::sync::{Mutex, lock};

/// The most kinds. They include texts of servers, so their number must be bounded.
const KINDS: usize = 64;

/// The warnings of one layer. A kind is the operation that failed, and the reason.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// Held for a map access.
    kinds: Mutex<HashMap<(&'static str, String), Pace>>,
    /// All other kinds together.
    others: Pace,
}

impl Warnings {
    /// Counts an event. Returns the number of events since the last warning of this kind, if a warning is
    /// due.
    pub(super) fn pass(&self, what: &'static str, why: &str) -> Option<u64> {
        // No panic leaves the map in an invalid state.
        let mut kinds = lock(&self.kinds);
        let (kind, is_full) = ((what, why.to_owned()), kinds.len() >= KINDS);
        match kinds.get(&kind) {
            Some(pace) => pace.pass(),
            None if is_full => self.others.pass(),
            None => kinds.entry(kind).or_default().pass(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn warns_once_a_second_per_kind() {
        let warnings = Warnings::default();
        assert_eq!(warnings.pass("a", "OOM"), Some(1));
        assert_eq!((warnings.pass("a", "OOM"), warnings.pass("a", "OOM")), (None, None));
        assert_eq!((warnings.pass("a", "NOPERM"), warnings.pass("b", "OOM")), (Some(1), Some(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(warnings.pass("a", "OOM"), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_bounded() {
        let warnings = Warnings::default();
        let written = (0..1000).filter(|n| warnings.pass("a", &n.to_string()).is_some()).count();
        assert_eq!(written, KINDS + 1);
    }
}
