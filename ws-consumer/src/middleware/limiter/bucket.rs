//! Token buckets without a clock: times are nanoseconds since an arbitrary start.

use std::time::Duration;

/// A rate, and the size of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds in which one token is refilled.
    interval: u64,
    /// Nanoseconds in which an empty bucket is refilled.
    full: u64,
}

impl Rate {
    /// Allows `count` per second, in bursts of `count`.
    ///
    /// # Panics
    /// If `count` is 0 or more than a billion.
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// Allows `count` per minute, in bursts of `count`.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// Sets the size of a burst.
    pub fn burst(self, count: u32) -> Self {
        Self { full: self.interval.saturating_mul(count.max(1).into()), ..self }
    }

    fn new(count: u32, period: Duration) -> Self {
        let interval = nanoseconds(period).checked_div(count.into()).unwrap_or(0);
        assert!(interval > 0, "a rate is between one and a billion per second");
        Self { interval, full: interval * u64::from(count) }
    }

    /// The time after which an unused bucket is full and can be dropped.
    pub(super) fn window(self) -> u64 {
        self.full
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A token bucket, stored as the time at which it will be full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenBucket {
    full_at: u64,
}

impl TokenBucket {
    /// Takes `count` tokens, or returns the time until they are available. More than a full bucket is never available.
    pub(super) fn take(&mut self, rate: Rate, count: u64, now: u64) -> Result<(), u64> {
        let full_at = self.full_at.max(now).saturating_add(rate.interval.saturating_mul(count));
        match full_at.saturating_sub(now).checked_sub(rate.full) {
            None | Some(0) => {
                self.full_at = full_at;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// Takes `count` tokens even if they are not available, and returns the time until the debt is paid.
    pub(super) fn owe(&mut self, rate: Rate, count: u64, now: u64) -> u64 {
        self.full_at = self.full_at.max(now).saturating_add(rate.interval.saturating_mul(count));
        self.full_at.saturating_sub(now).saturating_sub(rate.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_then_the_rate() {
        let (rate, mut bucket) = (Rate::per_second(10).burst(3), TokenBucket::default());
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, 1, SECOND), Ok(()));
        }
        assert_eq!(bucket.take(rate, 1, SECOND), Err(SECOND / 10));
        assert_eq!(bucket.take(rate, 1, SECOND + SECOND / 10), Ok(()));
        assert!(bucket.take(rate, 1, SECOND + SECOND / 10).is_err());
        assert_eq!(bucket.take(rate, 3, 2 * SECOND), Ok(()));
    }

    #[test]
    fn refusals_cost_nothing() {
        let (rate, mut bucket) = (Rate::per_minute(60).burst(5), TokenBucket::default());
        assert!(bucket.take(rate, 6, SECOND).is_err());
        assert!(bucket.take(rate, u64::MAX, SECOND).is_err());
        assert_eq!(bucket.take(rate, 5, SECOND), Ok(()));
    }

    #[test]
    fn debts_are_paid_at_the_rate() {
        let (rate, mut bucket) = (Rate::per_second(10).burst(2), TokenBucket::default());
        let waits: Vec<_> = (0..4).map(|_| bucket.owe(rate, 1, SECOND)).collect();
        assert_eq!(waits, [0, 0, SECOND / 10, SECOND / 5]);
        assert_eq!(bucket.owe(rate, 1, SECOND + SECOND / 5), SECOND / 10);
        assert_eq!(bucket.owe(rate, u64::MAX, 2 * SECOND), u64::MAX - 2 * SECOND - SECOND / 5);
    }

    #[test]
    #[should_panic(expected = "between one and a billion")]
    fn rejects_a_rate_of_zero() {
        Rate::per_second(0);
    }
}
