//! The times at which a connection has to look up, on one timer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::Limits;

pub(super) struct Deadlines {
    /// When to see whether the client is still there.
    look: Instant,
    /// When the other side has had its time: to take what is written, or to answer a close.
    limit: Option<Instant>,
    /// When the message under way should be whole.
    message: Option<Instant>,
    /// When the connection has lived long enough.
    end: Option<Instant>,
    /// Rings at the earliest of them, or earlier; set when the connection goes to sleep. Boxed: by itself it is as large
    /// as all the rest.
    timer: Pin<Box<Sleep>>,
}

/// What has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    End,
    Limit,
    Look,
    Message,
    /// The timer was set before something was called off.
    Nothing,
}

impl Deadlines {
    pub(super) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        // Spread, so that ten thousand clients that came together are not pinged together; only ever earlier.
        let look = now + limits.ping_interval.mul_f64(1.0 - fastrand::f64() / 4.0);
        let end = limits.max_age.map(|age| now + age);
        let first = end.map_or(look, |end| end.min(look));
        Self { look, limit: None, message: None, end, timer: Box::pin(sleep_until(first)) }
    }

    pub(super) fn has_limit(&self) -> bool {
        self.limit.is_some()
    }

    pub(super) fn has_message(&self) -> bool {
        self.message.is_some()
    }

    pub(super) fn set_limit(&mut self, after: Option<Duration>) {
        self.limit = after.map(|after| Instant::now() + after);
    }

    pub(super) fn set_message(&mut self, after: Option<Duration>) {
        self.message = after.map(|after| Instant::now() + after);
    }

    pub(super) fn set_look(&mut self, after: Duration) {
        self.look = Instant::now() + after;
    }

    /// Only the look is left, which then does nothing.
    pub(super) fn clear(&mut self) {
        (self.limit, self.message, self.end) = (None, None, None);
    }

    /// Ready with what is due; the timer is set for the next one by [`rearm`](Self::rearm).
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        // Only now, and only when it would ring too late: most deadlines are called off before anybody sleeps, and a timer
        // that is brought forward wakes the runtime's driver.
        if self.next() < self.timer.deadline() {
            self.rearm();
        }
        ready!(self.timer.as_mut().poll(cx));
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        Poll::Ready(match () {
            () if is_due(self.limit) => Due::Limit,
            () if is_due(self.message) => Due::Message,
            () if is_due(self.end) => Due::End,
            () if is_due(Some(self.look)) => Due::Look,
            () => Due::Nothing,
        })
    }

    pub(super) fn rearm(&mut self) {
        let next = self.next();
        self.timer.as_mut().reset(next);
    }

    fn next(&self) -> Instant {
        [self.limit, self.message, self.end].into_iter().flatten().fold(self.look, Instant::min)
    }
}
