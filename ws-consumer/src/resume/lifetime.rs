//! The limits on how long a session's client may stay, whatever carries it.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    connections::INPUT_TIMEOUT,
    frame::Close,
    limits::{Limits, idle, too_old},
};

/// The age of a client's stay, and the time of its last frame. Signs of life of connections do not count.
pub(super) struct Lifetime {
    began: Instant,
    last_frame: Instant,
    /// The close of an expired lifetime, and the deadline for handling the input before it.
    expired: Option<(Close, Instant)>,
}

/// The next step of a client's stay.
pub(super) enum LifetimeStep {
    /// Look again at this time.
    Wait(Instant),
    /// Close once the input so far has been handled.
    CloseAfterInput(Close),
    ShutDown(Close),
}

impl Lifetime {
    /// `None` without limits: no clock is read then.
    pub(super) fn new(limits: &Limits) -> Option<Self> {
        limits.idle_timeout.or(limits.max_age)?;
        let now = Instant::now();
        Some(Self { began: now, last_frame: now, expired: None })
    }

    /// Notes a frame of the client.
    pub(super) fn note_frame(&mut self) {
        self.last_frame = Instant::now();
    }

    /// A session whose time is over ends as in a drain: the input so far is handled, within a deadline.
    pub(super) fn step(&mut self, limits: &Limits, now: Instant) -> Option<LifetimeStep> {
        if let Some((close, until)) = &self.expired {
            let is_late = *until <= now;
            return Some(if is_late {
                LifetimeStep::ShutDown(close.clone())
            } else {
                LifetimeStep::Wait(*until)
            });
        }
        let after = |since: Instant, limit: Option<Duration>| since.checked_add(limit?);
        let ends = [after(self.last_frame, limits.idle_timeout), after(self.began, limits.max_age)];
        let next = ends.into_iter().flatten().min()?;
        if next > now {
            return Some(LifetimeStep::Wait(next));
        }
        let close = if ends[0] == Some(next) { idle() } else { too_old() };
        self.expired = Some((close.clone(), now + INPUT_TIMEOUT));
        Some(LifetimeStep::CloseAfterInput(close))
    }
}
