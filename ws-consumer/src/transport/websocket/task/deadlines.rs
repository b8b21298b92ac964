//! [`Deadlines`] of a connection, on one timer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::Limits;

pub(super) struct Deadlines {
    /// The next liveness check.
    liveness: Instant,
    /// The end of the peer's time to take output, or to reply to a close.
    peer: Option<Instant>,
    /// The latest end of the current message.
    message: Option<Instant>,
    /// The end of the connection's maximum age.
    max_age: Option<Instant>,
    /// Fires at the earliest deadline, or earlier. Set when the connection goes to sleep. Boxed: it is as large as all
    /// other fields together.
    timer: Pin<Box<Sleep>>,
}

/// The deadline that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DueDeadline {
    Liveness,
    MaxAge,
    Message,
    /// None: the timer was set for a deadline that was cancelled.
    None,
    Peer,
}

impl Deadlines {
    pub(super) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        // Spread, so that ten thousand clients that connected together are not pinged together. Only ever earlier.
        let liveness = now + limits.ping_interval.mul_f64(1.0 - fastrand::f64() / 4.0);
        let max_age = limits.max_age.map(|age| now + age);
        let first = max_age.map_or(liveness, |end| end.min(liveness));
        Self { liveness, peer: None, message: None, max_age, timer: Box::pin(sleep_until(first)) }
    }

    pub(super) fn has_peer(&self) -> bool {
        self.peer.is_some()
    }

    pub(super) fn has_message(&self) -> bool {
        self.message.is_some()
    }

    pub(super) fn set_peer(&mut self, after: Option<Duration>) {
        self.peer = after.map(|after| Instant::now() + after);
    }

    pub(super) fn set_message(&mut self, after: Option<Duration>) {
        self.message = after.map(|after| Instant::now() + after);
    }

    pub(super) fn set_liveness(&mut self, after: Duration) {
        self.liveness = Instant::now() + after;
    }

    /// Cancels all deadlines but the liveness check, which then has no effect.
    pub(super) fn clear(&mut self) {
        (self.peer, self.message, self.max_age) = (None, None, None);
    }

    /// Waits for the next deadline. The caller then sets the timer by [`rearm`](Self::rearm).
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<DueDeadline> {
        // Set only now, and only if it would fire too late: most deadlines are cancelled before the task sleeps, and a timer
        // that is brought forward wakes the runtime's driver.
        if self.next() < self.timer.deadline() {
            self.rearm();
        }
        ready!(self.timer.as_mut().poll(cx));
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        Poll::Ready(if is_due(self.peer) {
            DueDeadline::Peer
        } else if is_due(self.message) {
            DueDeadline::Message
        } else if is_due(self.max_age) {
            DueDeadline::MaxAge
        } else if is_due(Some(self.liveness)) {
            DueDeadline::Liveness
        } else {
            DueDeadline::None
        })
    }

    pub(super) fn rearm(&mut self) {
        let next = self.next();
        self.timer.as_mut().reset(next);
    }

    fn next(&self) -> Instant {
        [self.peer, self.message, self.max_age].into_iter().flatten().fold(self.liveness, Instant::min)
    }
}
