//! The pauses between attempts to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
/// Short, because an outage lasts up to this much longer than the fault. Attempts are cheap, and jitter spreads them.
const LONGEST: Duration = Duration::from_secs(1);

/// Doubling with full jitter, without an end: a thousand processes that lost the same server reconnect spread out.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The pause before the next attempt; zero before the first.
    pub fn pause(&mut self) -> Duration {
        let attempts = self.attempts;
        self.attempts = attempts.saturating_add(1);
        let Some(doublings) = attempts.checked_sub(1) else { return Duration::ZERO };
        let most = FIRST.saturating_mul(1 << doublings.min(8)).min(LONGEST);
        most.mul_f64(fastrand::f64())
    }

    /// Resets the pauses if the connection lasted for a while. One that breaks at once must not be retried in a tight
    /// loop.
    pub fn connected_for(&mut self, lifetime: Duration) {
        if lifetime > LONGEST {
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_attempt_is_immediate() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.pause(), Duration::ZERO);
        let waits: Vec<_> = (0..10_000).map(|_| backoff.pause()).collect();
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits.iter().any(|wait| *wait > LONGEST / 2), "the pauses grow");
        assert!(waits.iter().any(|wait| *wait < LONGEST / 2), "the pauses are spread");
    }

    #[test]
    fn short_connections_keep_backing_off() {
        let mut backoff = Backoff::default();
        backoff.pause();
        backoff.connected_for(Duration::from_millis(5));
        assert_eq!(backoff.attempts, 1);
        backoff.connected_for(Duration::from_secs(5));
        assert_eq!(backoff.pause(), Duration::ZERO);
    }
}
