//! Is the client still there, and does it keep to the limits of a quiet one?

use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::limits::Limits;

/// What has been heard since the last look.
///
/// Every client is pinged once per interval, whatever it says in between. So no clock is read when it is heard, and one
/// that is never heard again is pinged an interval later at the latest, and found when the ping's time is over.
#[derive(Debug)]
pub(super) struct Keepalive {
    heard: bool,
    /// Sent a message since the last ping was due.
    spoke: bool,
    /// When the next ping is due.
    ping_at: Instant,
    /// When the first ping was sent since it was last heard.
    unanswered: Option<Instant>,
    /// When it was last seen to have sent a message.
    spoke_at: Instant,
    /// Control frames that it may send now: a bucket that refills with time.
    controls: f32,
    filled_at: Instant,
}

/// What to do now, and when to look again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Gone,
    Idle,
    Ping(Duration),
    Wait(Duration),
}

impl Keepalive {
    pub(super) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        Self {
            heard: false,
            spoke: false,
            ping_at: now,
            unanswered: None,
            spoke_at: now,
            controls: limits.control_burst as f32,
            filled_at: now,
        }
    }

    /// The client said something, whatever it was. Cheap: no clock is read, no timer moved.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// The client sent a message.
    pub(super) fn spoke(&mut self) {
        self.spoke = true;
    }

    /// Has it sent a message since the last ping was due?
    pub(super) fn has_spoken(&self) -> bool {
        self.spoke
    }

    /// Counts a control frame; false if it is one too many.
    pub(super) fn may_control(&mut self, limits: &Limits) -> bool {
        let now = Instant::now();
        let gained =
            (now - mem::replace(&mut self.filled_at, now)).as_secs_f32() * limits.control_rate as f32;
        self.controls = (self.controls + gained).min(limits.control_burst as f32) - 1.0;
        self.controls >= 0.0
    }

    /// The time of the last look has passed. `deaf`: the client is not read at the moment, so its answer may be on its way.
    pub(super) fn look(&mut self, limits: &Limits, deaf: bool) -> Look {
        let now = Instant::now();
        if mem::take(&mut self.heard) {
            self.unanswered = None;
        }
        let patience = limits.ping_timeout + if deaf { limits.ping_interval } else { Duration::ZERO };
        if self.unanswered.is_some_and(|since| now - since >= patience) {
            return Look::Gone;
        }
        if now < self.ping_at {
            return Look::Wait(self.next_look(now, patience));
        }
        if self.has_been_idle(now, limits) {
            return Look::Idle;
        }
        self.ping_at = now + limits.ping_interval;
        self.unanswered.get_or_insert(now);
        Look::Ping(self.next_look(now, patience))
    }

    fn has_been_idle(&mut self, now: Instant, limits: &Limits) -> bool {
        if mem::take(&mut self.spoke) {
            self.spoke_at = now;
            return false;
        }
        limits.idle_timeout.is_some_and(|limit| now - self.spoke_at >= limit)
    }

    fn next_look(&self, now: Instant, patience: Duration) -> Duration {
        let next = self.unanswered.map_or(self.ping_at, |since| self.ping_at.min(since + patience));
        next - now
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Looks when it is told to, until the client is gone; it is heard at `sign` only, or whenever it is pinged before.
    async fn gone_after(limits: &Limits, sign: Duration) -> Duration {
        let (mut keepalive, began) = (Keepalive::new(limits), Instant::now());
        let mut wait = limits.ping_interval * 3 / 4;
        let mut alive = true;
        loop {
            let until_sign = (began + sign).saturating_duration_since(Instant::now());
            if alive && until_sign < wait {
                advance(until_sign).await;
                keepalive.heard();
                advance(wait - until_sign).await;
                alive = false;
            } else {
                advance(wait).await;
            }
            match keepalive.look(limits, false) {
                Look::Gone => return began.elapsed() - sign,
                Look::Idle => panic!("there is no such limit"),
                Look::Wait(next) => wait = next,
                Look::Ping(next) => {
                    wait = next;
                    if alive {
                        keepalive.heard();
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whenever_a_client_falls_silent_it_is_gone_an_interval_and_a_timeout_later() {
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
    async fn an_answer_is_waited_for_longer_while_nobody_reads_it() {
        let limits = Limits::default();
        let mut keepalive = Keepalive::new(&limits);
        assert_eq!(keepalive.look(&limits, true), Look::Ping(limits.ping_interval));
        advance(limits.ping_interval).await;
        assert_eq!(keepalive.look(&limits, true), Look::Ping(limits.ping_timeout));
        advance(limits.ping_timeout).await;
        assert_eq!(keepalive.look(&limits, true), Look::Gone);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_only_answers_pings_is_idle() {
        let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
        let mut keepalive = Keepalive::new(&limits);
        keepalive.spoke();
        for _ in 0..3 {
            keepalive.heard();
            assert_ne!(keepalive.look(&limits, false), Look::Idle);
            advance(Duration::from_secs(20)).await;
        }
        keepalive.heard();
        assert_eq!(keepalive.look(&limits, false), Look::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn control_frames_have_a_burst_and_a_rate() {
        let limits = Limits::default();
        let mut keepalive = Keepalive::new(&limits);
        let allowed = (0..100).take_while(|_| keepalive.may_control(&limits)).count();
        assert_eq!(allowed, 60);
        advance(Duration::from_secs(1)).await;
        let allowed = (0..100).take_while(|_| keepalive.may_control(&limits)).count();
        assert!((28..=30).contains(&allowed), "{allowed}");
    }
}
