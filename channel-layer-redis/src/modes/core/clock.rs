//! Scores: the wall clock of the sender, in seconds.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A source of strictly increasing scores: Redis orders members of equal score by their bytes, which are random.
///
/// The resolution is a microsecond, the highest that a float of today's seconds can represent.
#[derive(Debug, Default)]
pub(super) struct ScoreClock {
    /// Relaxed: no other value depends on it.
    last: AtomicU64,
}

impl ScoreClock {
    /// The next score, as text for Redis.
    pub(super) fn score(&self) -> String {
        self.next(micros(now()))
    }

    fn next(&self, now: u64) -> String {
        let later = |last: u64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Relaxed, Relaxed, later).unwrap_or_default();
        text(now.max(last + 1))
    }
}

/// The score of a message of this age.
pub(super) fn score_before(age: Duration) -> String {
    text(micros(now().saturating_sub(age)))
}

/// The remaining lifetime of a message with this score, given its total lifetime. Zero once expired.
pub(super) fn remaining(score: f64, lifetime: Duration) -> Duration {
    let age = now().as_secs_f64() - score;
    // The clock of a sender may be ahead, which must not extend the lifetime.
    lifetime.saturating_sub(Duration::try_from_secs_f64(age.max(0.0)).unwrap_or(Duration::MAX))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2)
}

fn text(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_increase_strictly() {
        let clock = ScoreClock::default();
        let start = 1_795_218_817_999_990;
        let scores: Vec<f64> = (0..1000_u64).map(|n| clock.next(start - n % 7).parse().unwrap()).collect();
        assert!(scores.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(clock.next(start + 5_000_000), "1795218822.999990");
    }

    #[test]
    fn remaining_counts_from_the_score() {
        let minute = Duration::from_secs(60);
        let now = now().as_secs_f64();
        assert!(remaining(now - 61.0, minute).is_zero() && remaining(0.0, minute).is_zero());
        assert!((20..=30).contains(&remaining(now - 30.0, minute).as_secs()));
        assert_eq!(remaining(now + 1000.0, minute), minute);
    }
}
