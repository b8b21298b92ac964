//! Scores: the senders' wall clocks, in seconds.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Gives scores that strictly increase: Redis orders equal ones by their bytes, which are random.
///
/// In microseconds, because a score is a float and has no more room behind the seconds of our days.
#[derive(Debug, Default)]
pub(super) struct ScoreClock {
    /// Relaxed: an atomic alone is in order with itself.
    last: AtomicU64,
}

impl ScoreClock {
    /// The next score, as Redis reads it.
    pub(super) fn score(&self) -> String {
        self.next(micros(now()))
    }

    fn next(&self, now: u64) -> String {
        let later = |last: u64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Relaxed, Relaxed, later).unwrap_or_default();
        text(now.max(last + 1))
    }
}

/// The score of what has existed for so long.
pub(super) fn score_before(age: Duration) -> String {
    text(micros(now().saturating_sub(age)))
}

/// How long what has this score is good for, of so long in all. Zero if its time is over.
pub(super) fn left(score: f64, of: Duration) -> Duration {
    let age = now().as_secs_f64() - score;
    // A sender whose clock is ahead must not make it last longer.
    of.saturating_sub(Duration::try_from_secs_f64(age.max(0.0)).unwrap_or(Duration::MAX))
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
    fn scores_increase_strictly_also_as_floats_and_when_the_clock_stands_or_goes_back() {
        let clock = ScoreClock::default();
        let start = 1_795_218_817_999_990;
        let scores: Vec<f64> = (0..1000_u64).map(|n| clock.next(start - n % 7).parse().unwrap()).collect();
        assert!(scores.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(clock.next(start + 5_000_000), "1795218822.999990");
    }

    #[test]
    fn what_is_left_is_counted_from_the_score() {
        let minute = Duration::from_secs(60);
        let now = now().as_secs_f64();
        assert!(left(now - 61.0, minute).is_zero() && left(0.0, minute).is_zero());
        assert!((20..=30).contains(&left(now - 30.0, minute).as_secs()));
        assert_eq!(left(now + 1000.0, minute), minute);
    }
}
