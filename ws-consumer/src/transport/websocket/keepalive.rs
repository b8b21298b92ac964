//! [`Keepalive`]: detection of lost and idle clients, and the rate limit of control frames.

use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::limits::Limits;

/// The client's signs of life since the last check.
///
/// Every client is pinged once per interval, whatever it sends in between. Hence no clock is read on input, and a client
/// that falls silent is pinged within an interval and lost when the ping's time is over.
#[derive(Debug)]
pub(super) struct Keepalive {
    received: bool,
    /// Whether a message was received since the last ping was due.
    received_message: bool,
    /// The time of the next ping.
    ping_at: Instant,
    /// The time of the first ping since the last input.
    unanswered: Option<Instant>,
    /// The check that last found a message.
    message_at: Instant,
    /// A token bucket of control frames, refilled with time.
    controls: f32,
    filled_at: Instant,
}

/// The result of a check, with the time until the next one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Liveness {
    Gone,
    Idle,
    Ping(Duration),
    Wait(Duration),
}

impl Keepalive {
    pub(super) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        Self {
            received: false,
            received_message: false,
            ping_at: now,
            unanswered: None,
            message_at: now,
            controls: limits.control_burst as f32,
            filled_at: now,
        }
    }

    /// Records input of any kind. Cheap: no clock is read, no timer moved.
    pub(super) fn received(&mut self) {
        self.received = true;
    }

    /// Records a message.
    pub(super) fn received_message(&mut self) {
        self.received_message = true;
    }

    /// Whether a message was received since the last ping was due.
    pub(super) fn has_received_message(&self) -> bool {
        self.received_message
    }

    /// Counts a control frame. Returns false if it exceeds the limit.
    pub(super) fn admits_control(&mut self, limits: &Limits) -> bool {
        let now = Instant::now();
        let gained =
            (now - mem::replace(&mut self.filled_at, now)).as_secs_f32() * limits.control_rate as f32;
        self.controls = (self.controls + gained).min(limits.control_burst as f32) - 1.0;
        self.controls >= 0.0
    }

    /// Checks the client, at the time that the last check named. `paused`: its input is not read at the moment, so a pong
    /// may have arrived unseen.
    pub(super) fn check(&mut self, limits: &Limits, paused: bool) -> Liveness {
        let now = Instant::now();
        if mem::take(&mut self.received) {
            self.unanswered = None;
        }
        let patience = limits.ping_timeout + if paused { limits.ping_interval } else { Duration::ZERO };
        if self.unanswered.is_some_and(|since| now - since >= patience) {
            return Liveness::Gone;
        }
        if now < self.ping_at {
            return Liveness::Wait(self.until_next(now, patience));
        }
        if self.is_idle(now, limits) {
            return Liveness::Idle;
        }
        self.ping_at = now + limits.ping_interval;
        self.unanswered.get_or_insert(now);
        Liveness::Ping(self.until_next(now, patience))
    }

    fn is_idle(&mut self, now: Instant, limits: &Limits) -> bool {
        if mem::take(&mut self.received_message) {
            self.message_at = now;
            return false;
        }
        limits.idle_timeout.is_some_and(|limit| now - self.message_at >= limit)
    }

    fn until_next(&self, now: Instant, patience: Duration) -> Duration {
        let next = self.unanswered.map_or(self.ping_at, |since| self.ping_at.min(since + patience));
        next - now
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Checks at the named times until the client is lost. It sends at `sign`, and replies to pings before that.
    async fn gone_after(limits: &Limits, sign: Duration) -> Duration {
        let (mut keepalive, began) = (Keepalive::new(limits), Instant::now());
        let mut wait = limits.ping_interval * 3 / 4;
        let mut alive = true;
        loop {
            let until_sign = (began + sign).saturating_duration_since(Instant::now());
            if alive && until_sign < wait {
                advance(until_sign).await;
                keepalive.received();
                advance(wait - until_sign).await;
                alive = false;
            } else {
                advance(wait).await;
            }
            match keepalive.check(limits, false) {
                Liveness::Gone => return began.elapsed() - sign,
                Liveness::Idle => panic!("no idle timeout is set"),
                Liveness::Wait(next) => wait = next,
                Liveness::Ping(next) => {
                    wait = next;
                    if alive {
                        keepalive.received();
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_lost_in_time() {
        for (interval, timeout) in [(20, 20), (20, 5), (5, 20), (7, 10)] {
            let [ping_interval, ping_timeout] = [interval, timeout].map(Duration::from_secs);
            let limits = Limits { ping_interval, ping_timeout, ..Limits::default() };
            for sign in (0..100_000).step_by(250).map(Duration::from_millis) {
                let after = gone_after(&limits, sign).await;
                let latest = limits.ping_interval + limits.ping_timeout;
                assert!(after >= limits.ping_timeout, "{interval} {timeout} {sign:?}: {after:?}");
                assert!(after <= latest, "{interval} {timeout} {sign:?}: {after:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_longer_while_input_is_paused() {
        let limits = Limits::default();
        let mut keepalive = Keepalive::new(&limits);
        assert_eq!(keepalive.check(&limits, true), Liveness::Ping(limits.ping_interval));
        advance(limits.ping_interval).await;
        assert_eq!(keepalive.check(&limits, true), Liveness::Ping(limits.ping_timeout));
        advance(limits.ping_timeout).await;
        assert_eq!(keepalive.check(&limits, true), Liveness::Gone);
    }

    #[tokio::test(start_paused = true)]
    async fn pongs_do_not_prevent_idleness() {
        let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
        let mut keepalive = Keepalive::new(&limits);
        keepalive.received_message();
        for _ in 0..3 {
            keepalive.received();
            assert_ne!(keepalive.check(&limits, false), Liveness::Idle);
            advance(Duration::from_secs(20)).await;
        }
        keepalive.received();
        assert_eq!(keepalive.check(&limits, false), Liveness::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_control_frames() {
        let limits = Limits::default();
        let mut keepalive = Keepalive::new(&limits);
        let allowed = (0..100).take_while(|_| keepalive.admits_control(&limits)).count();
        assert_eq!(allowed, 60);
        advance(Duration::from_secs(1)).await;
        let allowed = (0..100).take_while(|_| keepalive.admits_control(&limits)).count();
        assert!((28..=30).contains(&allowed), "{allowed}");
    }
}
