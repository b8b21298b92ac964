//! On which policy a worker works.

use std::time::Duration;

/// How much a worker does at a time, how long it may take, and how often it tries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Messages that are handled at once, and so at most are lost with the process. 1 by default: in order.
    pub concurrency: usize,
    /// How often a failure is tried again. 0 by default: a message is handled once.
    pub retries: u32,
    /// The wait before the first of them; each further one takes twice as long, up to a minute. 1 s.
    pub wait: Duration,
    /// How long one attempt may take. Ten minutes.
    pub deadline: Duration,
}

impl RetryPolicy {
    /// Handles so many messages at once; at least one.
    pub fn concurrency(mut self, count: usize) -> Self {
        self.concurrency = count.max(1);
        self
    }

    /// Tries a failure again so often. A worker that is tried again must bear to do a thing twice.
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    /// Sets the wait before the first retry.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets how long one attempt may take.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long to wait after this attempt, the first being 1; nothing if it was the last.
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
    fn waits_double_up_to_a_minute_and_end() {
        let policy = RetryPolicy::default().retries(40);
        let waits: Vec<_> = (1..=8).filter_map(|n| policy.wait_after(n)).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.wait_after(40), Some(Duration::from_secs(60)));
        assert_eq!(policy.wait_after(41), None);
        assert_eq!(RetryPolicy::default().wait_after(1), None);
    }
}
