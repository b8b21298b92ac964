//! How long a session's client may stay, where that is limited, whatever carries it.

use std::time::Duration;

use tokio::time::Instant;

use super::state::Session;
use crate::{
    connections::PATIENCE,
    frame::Close,
    limits::{Limits, idle, too_old},
};

/// When the client came and when it last said something; what connections do for signs of life does not count.
pub(super) struct Stay {
    began: Instant,
    spoke: Instant,
    /// With what it is over, and by when what was said before is to be handled.
    over: Option<(Close, Instant)>,
}

enum Step {
    Wait(Instant),
    SeeOut(Close),
    ShutDown(Close),
}

impl Session {
    /// When to look again. A session whose time is over ends as in a drain: what was said before is handled, unless that takes
    /// too long.
    pub(super) fn keep_stay(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut inner = self.inner();
        let step = inner.stay.as_mut()?.step(&self.terms.limits, now)?;
        if matches!(step, Step::ShutDown(_)) {
            inner.stay = None;
        }
        drop(inner);
        match step {
            Step::Wait(until) => return Some(until),
            Step::SeeOut(close) => self.link().see_out(close),
            Step::ShutDown(close) => self.link().shut_down(close),
        }
        Some(now)
    }
}

impl Stay {
    /// Nothing where it is not limited: no clock is read then.
    pub(super) fn new(limits: &Limits) -> Option<Self> {
        limits.idle_timeout.or(limits.max_age)?;
        let now = Instant::now();
        Some(Self { began: now, spoke: now, over: None })
    }

    pub(super) fn spoke(&mut self) {
        self.spoke = Instant::now();
    }

    fn step(&mut self, limits: &Limits, now: Instant) -> Option<Step> {
        if let Some((close, until)) = &self.over {
            let is_late = *until <= now;
            return Some(if is_late { Step::ShutDown(close.clone()) } else { Step::Wait(*until) });
        }
        let after = |since: Instant, limit: Option<Duration>| since.checked_add(limit?);
        let ends = [after(self.spoke, limits.idle_timeout), after(self.began, limits.max_age)];
        let next = ends.into_iter().flatten().min()?;
        if next > now {
            return Some(Step::Wait(next));
        }
        let close = if ends[0] == Some(next) { idle() } else { too_old() };
        self.over = Some((close.clone(), now + PATIENCE));
        Some(Step::SeeOut(close))
    }
}
