//! Token buckets, without clocks: times come in as nanoseconds of any beginning.

use std::time::Duration;

/// So many per second in the long run, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that one takes to come back.
    interval: u64,
    /// Nanoseconds that a full bucket takes.
    full: u64,
}

impl Rate {
    /// So many per second, and as many at once.
    ///
    /// # Panics
    /// When it is none, or more than a billion.
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// So many per minute, and as many at once.
    ///
    /// # Panics
    /// When it is none.
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// How many may come at once.
    pub fn burst(self, count: u32) -> Self {
        Self { full: self.interval.saturating_mul(count.max(1).into()), ..self }
    }

    fn new(count: u32, period: Duration) -> Self {
        let interval = nanoseconds(period).checked_div(count.into()).unwrap_or(0);
        assert!(interval > 0, "a rate is between one and a billion per second");
        Self { interval, full: interval * u64::from(count) }
    }

    /// After so long an untouched bucket is full, and need not be kept.
    pub(super) fn window(self) -> u64 {
        self.full
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One number is enough: when the bucket will be full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// Takes `count` out, or says how long to wait for them. What is more than a full bucket is never given.
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

    /// Takes `count` out, whatever is there, and says how long to wait until nothing is owed any more.
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
        let (rate, mut bucket) = (Rate::per_second(10).burst(3), Bucket::default());
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, 1, SECOND), Ok(()));
        }
        assert_eq!(bucket.take(rate, 1, SECOND), Err(SECOND / 10));
        assert_eq!(bucket.take(rate, 1, SECOND + SECOND / 10), Ok(()));
        assert!(bucket.take(rate, 1, SECOND + SECOND / 10).is_err());
        assert_eq!(bucket.take(rate, 3, 2 * SECOND), Ok(()));
    }

    #[test]
    fn what_is_refused_costs_nothing_and_too_much_is_never_given() {
        let (rate, mut bucket) = (Rate::per_minute(60).burst(5), Bucket::default());
        assert!(bucket.take(rate, 6, SECOND).is_err());
        assert!(bucket.take(rate, u64::MAX, SECOND).is_err());
        assert_eq!(bucket.take(rate, 5, SECOND), Ok(()));
    }

    #[test]
    fn a_debt_is_paid_back_at_the_rate() {
        let (rate, mut bucket) = (Rate::per_second(10).burst(2), Bucket::default());
        let waits: Vec<_> = (0..4).map(|_| bucket.owe(rate, 1, SECOND)).collect();
        assert_eq!(waits, [0, 0, SECOND / 10, SECOND / 5]);
        assert_eq!(bucket.owe(rate, 1, SECOND + SECOND / 5), SECOND / 10);
        assert_eq!(bucket.owe(rate, u64::MAX, 2 * SECOND), u64::MAX - 2 * SECOND - SECOND / 5);
    }

    #[test]
    #[should_panic(expected = "between one and a billion")]
    fn a_rate_of_nothing_is_none() {
        Rate::per_second(0);
    }
}
