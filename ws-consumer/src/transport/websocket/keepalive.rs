//! Is the client still there, and does it keep to the limits of a quiet one?

use std::{mem, time::Duration};

use tokio::time::Instant;

use crate::transport::Limits;

/// What has been heard since the last look.
#[derive(Debug)]
pub(super) struct Keepalive {
    heard: bool,
    pinged: bool,
    spoke: bool,
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
            pinged: false,
            spoke: false,
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

    /// Has it sent a message since the last look?
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

    /// The time of the last look has passed.
    pub(super) fn look(&mut self, limits: &Limits) -> Look {
        let now = Instant::now();
        if mem::take(&mut self.spoke) {
            self.spoke_at = now;
        } else if limits.idle_timeout.is_some_and(|limit| now - self.spoke_at >= limit) {
            return Look::Idle;
        }
        if mem::take(&mut self.heard) {
            self.pinged = false;
            return Look::Wait(limits.ping_interval);
        }
        if mem::replace(&mut self.pinged, true) {
            return Look::Gone;
        }
        Look::Ping(limits.ping_timeout)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn a_silent_client_is_pinged_and_then_gone() {
        let limits = Limits::default();
        let mut keepalive = Keepalive::new(&limits);
        keepalive.heard();
        assert_eq!(keepalive.look(&limits), Look::Wait(limits.ping_interval));
        assert_eq!(keepalive.look(&limits), Look::Ping(limits.ping_timeout));
        assert_eq!(keepalive.look(&limits), Look::Gone);
    }

    #[test]
    fn an_answered_ping_starts_over() {
        let limits = Limits::default();
        let mut keepalive = Keepalive::new(&limits);
        for _ in 0..3 {
            assert_eq!(keepalive.look(&limits), Look::Ping(limits.ping_timeout));
            keepalive.heard();
            assert_eq!(keepalive.look(&limits), Look::Wait(limits.ping_interval));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_only_answers_pings_is_idle() {
        let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
        let mut keepalive = Keepalive::new(&limits);
        keepalive.spoke();
        for _ in 0..3 {
            keepalive.heard();
            assert_ne!(keepalive.look(&limits), Look::Idle);
            advance(Duration::from_secs(20)).await;
        }
        assert_eq!(keepalive.look(&limits), Look::Idle);
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
