//! The deadlines of a session: how long it waits for its client.
//!
//! Without a carrier a session waits for [`ttl`](super::Resume::ttl), between two polls for the next poll, and with an event
//! stream for a sign of life of its client.

use std::time::Duration;

use tokio::time::Instant;

use super::{lifetime::LifetimeStep, session::Session};
use crate::{frame::Close, wire::PendingInput};

/// A time without a deadline, as the clock can add it.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Session {
    /// Applies the deadlines that are due, and returns the next one.
    pub(super) fn keep_time(&self) -> Option<Instant> {
        let next = self.check_carrier()?;
        Some(self.check_lifetime().map_or(next, |until| until.min(next)))
    }

    fn check_carrier(&self) -> Option<Instant> {
        let mut state = self.state();
        if state.is_over() {
            return None;
        }
        let now = Instant::now();
        let silent = state.silent_at(&self.settings.limits);
        if silent.is_some_and(|at| at <= now) {
            let channel = self.connection.channel();
            tracing::info!(?channel, rule = "ping_timeout", "ending an event stream whose client is silent");
            state.detach(now + self.settings.time_away(false));
            self.report(state);
            state = self.state();
        }
        if state.between_polls.is_some_and(|until| until <= now) {
            state.between_polls = None;
            return Some(now);
        }
        if state.carrier.is_none() && state.expires <= now {
            state.ending = Some(Close::ABNORMAL.into());
            // No close for the client to learn: one that comes late needs a new session, not the end of this one.
            state.is_forgettable = true;
            return Some(now);
        }
        let next = match &state.carrier {
            None => state.between_polls.unwrap_or(state.expires),
            Some(carrier) if carrier.kind.is_stream => {
                state.silent_at(&self.settings.limits).unwrap_or(now + YEAR)
            }
            Some(_) => now + self.settings.resume.poll_timeout + self.settings.time_away(false),
        };
        Some(next)
    }

    fn check_lifetime(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state();
        let step = state.lifetime.as_mut()?.step(&self.settings.limits, now)?;
        if matches!(step, LifetimeStep::ShutDown(_)) {
            state.lifetime = None;
        }
        drop(state);
        match step {
            LifetimeStep::Wait(until) => return Some(until),
            LifetimeStep::CloseAfterInput(close) => self.connection.shut_down(close, PendingInput::Handle),
            LifetimeStep::ShutDown(close) => self.connection.shut_down(close, PendingInput::Drop),
        }
        Some(now)
    }
}
