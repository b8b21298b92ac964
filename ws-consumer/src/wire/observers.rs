//! The calls of middleware, logs and statistics.

use std::sync::Arc;

use channel_layer::ChannelName;
use http::StatusCode;

use super::{
    connection::{Connection, ConnectionState},
    failures,
    hooks::{AnswerHook, FinishHook, FrameMeter},
    lifecycle::{OutcomeEnd, Phase},
    outbox::{OutputLimits, SlowStats},
    profile::Profile,
};
use crate::{
    error::{Error, FailureReports, Result},
    frame::Close,
};

impl Connection {
    pub(crate) fn profile(&self) -> Profile {
        self.state().profile
    }

    /// Returns whether this is a plain request, answered by a response.
    pub(crate) fn is_request(&self) -> bool {
        self.state().lifecycle.is_request()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().lifecycle.phase()
    }

    /// The user that guards had found when the connection was accepted.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.state().user.clone()
    }

    pub(crate) fn set_user(&self, user: Option<Arc<str>>) {
        self.state().user = user;
    }

    pub(crate) fn set_reports(&self, reports: Arc<FailureReports>) {
        self.state().failures.set_reports(reports);
    }

    /// Logs a failure, at most once a second for each kind. `hook`: what failed.
    pub(crate) fn report(&self, path: Option<&str>, hook: &'static str, error: &Error) {
        let reports = self.state().failures.note(error);
        failures::log(&reports, path, hook, error);
    }

    /// Returns whether an error of this kind was logged and not survived.
    pub(crate) fn was_reported(&self, error: &Error) -> bool {
        self.state().failures.was_reported(error)
    }

    pub(crate) fn set_survived(&self) {
        self.state().failures.set_survived();
    }

    /// Returns whether any output has left since the client was admitted.
    pub(crate) fn has_sent(&self) -> bool {
        self.state().outbox.has_sent()
    }

    pub(crate) fn slow(&self) -> SlowStats {
        self.state().outbox.slow()
    }

    /// Counts a client that the transport has given up because it takes no output.
    pub(crate) fn count_slow(&self) {
        self.state().outbox.count_closed();
    }

    /// Adds a hook for the answer's headers.
    pub(crate) fn on_answer(&self, hook: AnswerHook) {
        self.state().hooks.get_or_insert_default().on_answer(hook);
    }

    /// Adds a hook that the answer to a plain request waits for.
    pub(crate) fn on_finish(&self, hook: FinishHook) {
        self.state().hooks.get_or_insert_default().on_finish(hook);
    }

    /// Adds a meter, which checks all further frames of the client.
    pub(crate) fn meter(&self, meter: FrameMeter) {
        self.state().hooks.get_or_insert_default().meter(meter);
    }

    /// The status of the answer to the client's request, unless it is accepted; `outcome` is the application's.
    pub(crate) fn status(&self, outcome: &Result<()>) -> Option<StatusCode> {
        self.state().lifecycle.status(outcome)
    }

    /// Returns the close code with which a WebSocket ends after this outcome. `None` if it was never accepted.
    pub(crate) fn final_code(&self, outcome: &Result<()>) -> Option<u16> {
        let state = self.state();
        match state.lifecycle.status(outcome) {
            Some(_) => None,
            None => match state.lifecycle.end_for(outcome) {
                OutcomeEnd::Done => state.lifecycle.close().map(|close| close.code),
                OutcomeEnd::Close(close) => Some(close.code),
                OutcomeEnd::Refuse(_) => None,
            },
        }
    }

    pub(crate) fn set_limits(&self, limits: Arc<OutputLimits>) {
        self.state().outbox.set_limits(limits);
    }

    pub(crate) fn channel(&self) -> Option<ChannelName> {
        self.state().inbound.channel().cloned()
    }
}

impl ConnectionState {
    pub(super) fn too_slow(&mut self) {
        if self.lifecycle.is_ended() {
            return;
        }
        let (channel, bytes) = (self.inbound.channel(), self.outbox.bytes());
        let rule =
            if self.outbox.has_room() { "the mailbox's capacity" } else { "output.bytes, output.messages" };
        tracing::warn!(?channel, bytes, rule, "closing a client that is too slow");
        self.outbox.count_closed();
        self.close(Close::new(Close::TRY_AGAIN_LATER, "too slow"));
    }

    pub(super) fn count_dropped(&mut self, frames: u64) {
        tracing::debug!(channel = ?self.inbound.channel(), frames, "frames dropped for a slow client");
        self.outbox.count_dropped(frames);
    }
}
