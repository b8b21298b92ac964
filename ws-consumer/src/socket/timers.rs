//! The timers of a connection, by the time at which they are due.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    fmt, mem,
    pin::Pin,
    task::{self, Poll, ready},
    time::Duration,
};

use channel_layer::Message;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{Error, Result};

/// The most timers of a connection: what a client can make a consumer set is bounded.
const MAX_TIMERS: usize = 256;
/// A delay beyond the clock's range, about 30 years.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// A timer of one connection: see [`Context::send_after`](crate::Context::send_after).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(u64);

/// The reason why a timer was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerError {
    /// The connection has 256 timers.
    TooMany,
    /// The period is zero.
    ZeroPeriod,
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "the connection has {MAX_TIMERS} timers already"),
            Self::ZeroPeriod => f.write_str("the period of a timer is zero"),
        }
    }
}

impl StdError for TimerError {}

struct Timer {
    period: Option<Duration>,
    message: Message,
}

/// The timers of a connection, and one sleep for all of them. A map is smaller than a timer wheel, which takes kilobytes
/// from the first timer on.
pub(super) struct Timers {
    /// By the time at which they are due; equal times in the order of creation.
    by_due: BTreeMap<(Instant, TimerId), Timer>,
    sleep: Pin<Box<Sleep>>,
    next: u64,
    /// Whether the last input was a timer's event.
    has_fired: bool,
}

impl Default for Timers {
    fn default() -> Self {
        let sleep = Box::pin(sleep_until(Instant::now()));
        Self { by_due: BTreeMap::new(), sleep, next: 0, has_fired: false }
    }
}

impl Timers {
    /// Adds a timer. `period`: `None` for one that fires once.
    pub(super) fn insert(
        &mut self,
        delay: Duration,
        period: Option<Duration>,
        message: Message,
    ) -> Result<TimerId> {
        if period.is_some_and(|period| period.is_zero()) {
            return Err(Error::other(TimerError::ZeroPeriod));
        }
        if self.by_due.len() >= MAX_TIMERS {
            return Err(Error::other(TimerError::TooMany));
        }
        let id = TimerId(self.next);
        self.next += 1;
        self.by_due.insert((after(Instant::now(), delay), id), Timer { period, message });
        Ok(id)
    }

    /// Returns whether the timer was still to fire.
    pub(super) fn cancel(&mut self, timer: TimerId) -> bool {
        let key = self.by_due.keys().find(|(_, id)| *id == timer).copied();
        key.is_some_and(|key| self.by_due.remove(&key).is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_due.is_empty()
    }

    /// Ready with the message of a timer that is due.
    pub(super) fn poll_due(&mut self, cx: &mut task::Context<'_>) -> Poll<Message> {
        let Some(first) = self.by_due.first_entry() else { return Poll::Pending };
        let (due, id) = *first.key();
        let now = Instant::now();
        if due > now {
            if self.sleep.deadline() != due {
                self.sleep.as_mut().reset(due);
            }
            self.has_fired = false;
            ready!(self.sleep.as_mut().poll(cx));
        } else if mem::take(&mut self.has_fired) {
            // Other input has its turn, and so has the transport: a timer that is always due must not keep the task.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_fired = true;
        let timer = first.remove();
        let message = timer.message.clone();
        if let Some(period) = timer.period {
            self.by_due.insert((next_tick(due, period, now.max(due)), id), timer);
        }
        Poll::Ready(message)
    }
}

fn after(time: Instant, delay: Duration) -> Instant {
    time.checked_add(delay.min(FAR)).unwrap_or(time)
}

/// The first tick after `now` of those that `due` is one of.
fn next_tick(due: Instant, period: Duration, now: Instant) -> Instant {
    let late = (now - due).as_nanos() % period.as_nanos();
    // The remainder of a time since the process began fits.
    after(now, period.saturating_sub(Duration::from_nanos(late as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_skipped() {
        let (due, second) = (Instant::now(), Duration::from_secs(1));
        for (late, next) in [(0, 1000), (1, 1000), (999, 1000), (1000, 2000), (3500, 4000)] {
            let now = due + Duration::from_millis(late);
            assert_eq!(next_tick(due, second, now), due + Duration::from_millis(next), "{late}");
        }
        assert_eq!(next_tick(due, Duration::MAX, due), due + FAR);
    }
}
