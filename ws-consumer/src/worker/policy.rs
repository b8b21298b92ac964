//! On which policy a worker works.

use std::time::Duration;

/// The concurrency, the deadline and the retries of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The number of messages handled at a time, and the most that are lost with the process. 1 by default: in order.
    pub concurrency: usize,
    /// The number of retries after a failure. 0 by default.
    pub retries: u32,
    /// The wait before the first retry. Each further wait is twice as long, up to a minute. 1 s by default.
    pub wait: Duration,
    /// The time limit of an attempt. Ten minutes by default.
    pub deadline: Duration,
}

impl RetryPolicy {
    /// Sets the number of messages handled at a time; at least one.
    pub fn concurrency(mut self, count: usize) -> Self {
        self.concurrency = count.max(1);
        self
    }

    /// Sets the number of retries. A worker with retries must be idempotent.
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    /// Sets the wait before the first retry.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets the time limit of an attempt.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Returns the wait after an attempt, counted from 1, or `None` after the last one.
    pub(super) fn wait_after(&self, attempt: u32) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_secs(60);
        let doubled = || self.wait.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
        (attempt <= self.retries).then(|| doubled().min(LONGEST.max(self.wait)))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { concurrency: 1, retries: 0, wait: Duration::from_secs(1), deadline: Duration::from_secs(600) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let policy = RetryPolicy::default().retries(40);
        let waits: Vec<_> = (1..=8).filter_map(|n| policy.wait_after(n)).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.wait_after(40), Some(Duration::from_secs(60)));
        assert_eq!(policy.wait_after(41), None);
        assert_eq!(RetryPolicy::default().wait_after(1), None);
    }
}
