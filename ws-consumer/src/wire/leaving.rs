//! The end of a connection by the server, step by step, so that no message is lost.

use std::task::Waker;

use http::StatusCode;

use super::{
    Link, Phase,
    state::{Input, Leaving, State},
};
use crate::frame::Close;

impl Link {
    /// Returns whether this is a plain request, answered by a response.
    pub(crate) fn is_request(&self) -> bool {
        self.state().http
    }

    /// Stops reading from the client; input that has been read is handled. A client that is not admitted yet
    /// is refused.
    pub(crate) fn mute(&self) {
        if self.phase() == Phase::Undecided {
            return self.shut_down(Close::GOING_AWAY.into());
        }
        self.state().leaving.get_or_insert_with(|| Box::new(Leaving::Muted));
    }

    /// Takes [`mute`](Self::mute) back, unless the connection is being ended by now.
    pub(crate) fn unmute(&self) {
        let mut state = self.state();
        if state.leaving.take_if(|leaving| !matches!(**leaving, Leaving::Last(_))).is_some() {
            state.wake_task();
        }
    }

    /// Reads again, and ends the connection at the client's next frame, which is not handled.
    pub(crate) fn refuse_input(&self, close: Close) {
        let mut state = self.state();
        if state.is_muted() {
            state.leaving = Some(Box::new(Leaving::Refusing(close)));
            state.wake_task();
        }
    }

    /// Returns whether further frames come too late, for holders that buffer input. The first one refused while the
    /// closes are spread ends the connection.
    pub(crate) fn refuses_input(&self) -> bool {
        let mut state = self.state();
        let Some(leaving) = state.leaving.as_deref_mut() else { return false };
        if let Leaving::Refusing(close) = leaving {
            *leaving = Leaving::Last(close.clone());
            let wakers = [state.task.clone(), state.application.take()];
            drop(state);
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
        true
    }

    /// Returns whether the application is handling input or a request of the client. False while it waits for
    /// the client's next frame.
    pub(crate) fn handles_input(&self) -> bool {
        let state = self.state();
        match state.phase {
            Phase::Ended => false,
            // A response that has begun may go on for ever.
            _ if state.http => state.phase == Phase::Undecided && state.handles,
            _ => (state.handles && !state.sought) || state.inputs.len() > state.events,
        }
    }

    /// Shuts the connection down like [`shut_down`](Self::shut_down), once the application has handled its
    /// input so far: messages that were delivered to it are not lost. The caller limits the time.
    pub(crate) fn see_out(&self, close: Close) {
        let mut state = self.state();
        if state.must_end_now() {
            drop(state);
            return self.shut_down(close);
        }
        state.leaving = Some(Box::new(Leaving::Last(close)));
        let wakers = [state.task.clone(), state.application.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Ends the connection because the server shuts down. A client that is not admitted yet gets 503.
    pub(crate) fn shut_down(&self, close: Close) {
        if self.refuse(StatusCode::SERVICE_UNAVAILABLE.into()).is_ok() {
            return self.wake_application();
        }
        self.hang_up_beside(close);
    }

    pub(super) fn is_seen_out(&self) -> bool {
        self.state().has_last_word()
    }
}

impl State {
    pub(super) fn is_muted(&self) -> bool {
        matches!(self.leaving.as_deref(), Some(Leaving::Muted))
    }

    /// Returns whether no input is to be read. False if the holder buffers input: that is handled, and the holder stops
    /// taking more instead.
    pub(super) fn wants_no_input(&self) -> bool {
        self.is_muted() && !self.profile.buffers_input
    }

    /// Takes the mail; true if there is nothing to be handled before the end.
    fn must_end_now(&mut self) -> bool {
        self.take_mail();
        // A response's inputs are its request's body, which nobody has to read. The holder may have more.
        let is_idle = self.inputs.is_empty() && !self.profile.buffers_input;
        self.http || self.phase != Phase::Open || is_idle
    }

    /// Returns true for a frame that comes too late, and so ends the connection.
    pub(super) fn refuses(&mut self, input: &Input) -> bool {
        if !matches!(input, Input::Frame(_)) || self.profile.buffers_input {
            return false;
        }
        let Some(Leaving::Refusing(close)) = self.leaving.as_deref() else { return self.has_last_word() };
        let close = close.clone();
        if self.must_end_now() {
            self.hang_up(close);
        } else {
            self.leaving = Some(Box::new(Leaving::Last(close)));
        }
        true
    }

    /// Ends the connection, if it was to end once all is handled.
    pub(super) fn say_last_word(&mut self) -> bool {
        let Some(Leaving::Last(close)) = self.leaving.as_deref() else { return false };
        let close = close.clone();
        self.hang_up(close);
        true
    }
}
