//! The phases of a connection, and the ways in which it ends.
//!
//! | verb | called by | before the decision | accepted |
//! |---|---|---|---|
//! | `close` | the application, middleware, messages, limits | 403 | the close frame, after everything sent before |
//! | `close` by the outcome | the application's future | 403, a plain request 500; an error its status | 1000; an error 1007, 1011 or 1013 |
//! | `shut_down` | the server | 503 | the close frame; the input so far is handled first, if asked for |
//! | `disconnected` | the transport, for the peer | no answer | no answer; the client's input so far is handled |
//!
//! `refuse` is the application's answer before it has accepted; of a plain request it is the whole response. The first
//! end counts: a second `close` fails, and the others have no effect.

use http::StatusCode;

use super::values::Refuse;
use crate::{
    error::{Error, Fault, Result},
    frame::Close,
};

/// The phase of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Neither accepted nor refused.
    #[default]
    Undecided,
    /// Accepted by the application; the answer has not left.
    Accepting,
    Open,
    /// Refused, closed or lost.
    Ended,
}

/// The phase, and how the connection ended. Two variants for the end take less memory than a flag beside the close.
#[derive(Default)]
enum PhaseState {
    #[default]
    Undecided,
    Accepting,
    Open,
    /// Ended by the application or the server.
    Ended(Close),
    /// Ended by the peer, or the network.
    Lost(Close),
}

/// The steps in which the server ends a connection.
enum DrainStep {
    /// Reading has stopped. Input that has been read is handled.
    Muted,
    /// The client's next frame ends it, unhandled.
    Refusing(Close),
    /// The connection ends once all its input is handled.
    Ending(Close),
}

/// The end that an application's outcome brings about.
pub(super) enum OutcomeEnd {
    /// None: it has ended before.
    Done,
    Close(Close),
    Refuse(Refuse),
}

#[derive(Default)]
pub(super) struct Lifecycle {
    /// Whether it is a plain request, answered by a response.
    is_request: bool,
    phase: PhaseState,
    /// Boxed: it is rare. Kept after the end: the transport must not begin to read again.
    drain: Option<Box<DrainStep>>,
    /// The status of the answer, if the client was not accepted.
    status: Option<StatusCode>,
}

impl Lifecycle {
    pub(super) fn new(is_request: bool) -> Self {
        Self { is_request, ..Self::default() }
    }

    pub(super) fn is_request(&self) -> bool {
        self.is_request
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase {
            PhaseState::Undecided => Phase::Undecided,
            PhaseState::Accepting => Phase::Accepting,
            PhaseState::Open => Phase::Open,
            PhaseState::Ended(_) | PhaseState::Lost(_) => Phase::Ended,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, PhaseState::Open)
    }

    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.phase, PhaseState::Undecided)
    }

    pub(super) fn is_ended(&self) -> bool {
        self.close().is_some()
    }

    /// Whether messages of the layer are handled. A request is handled before it is answered: a long poll waits for its
    /// events undecided.
    pub(super) fn takes_messages(&self) -> bool {
        (self.is_open() || (self.is_request && self.is_undecided())) && !self.is_ending()
    }

    // ---- the decision

    /// Accepts a WebSocket. Returns false if that was done before.
    pub(super) fn accept(&mut self) -> Result<bool> {
        match self.phase {
            PhaseState::Undecided if self.is_request => {
                // As a consumer of requests does with a WebSocket: it needs a response, and would wait for an accept for ever.
                Err(Error::Refused(StatusCode::BAD_REQUEST))
            }
            PhaseState::Undecided => {
                self.phase = PhaseState::Accepting;
                Ok(true)
            }
            PhaseState::Accepting | PhaseState::Open => Ok(false),
            PhaseState::Ended(_) | PhaseState::Lost(_) => Err(Error::Closed),
        }
    }

    /// Begins the response to a plain request.
    pub(super) fn respond(&mut self) -> Result<()> {
        match self.phase {
            PhaseState::Undecided if !self.is_request => {
                Err(Error::other("a socket is accepted, not responded to"))
            }
            PhaseState::Undecided => {
                self.phase = PhaseState::Accepting;
                Ok(())
            }
            PhaseState::Accepting | PhaseState::Open => Err(Error::other("the response has begun already")),
            PhaseState::Ended(_) | PhaseState::Lost(_) => Err(Error::Closed),
        }
    }

    /// The answer has left.
    pub(super) fn accepted(&mut self) {
        if matches!(self.phase, PhaseState::Accepting) {
            self.phase = PhaseState::Open;
        }
    }

    pub(super) fn may_send(&self) -> Result<()> {
        match self.phase {
            PhaseState::Undecided => Err(Error::NotAccepted),
            PhaseState::Ended(_) | PhaseState::Lost(_) => Err(Error::Closed),
            PhaseState::Accepting | PhaseState::Open => Ok(()),
        }
    }

    /// Checks like [`may_send`](Self::may_send), for output that only a WebSocket can carry.
    pub(super) fn may_send_frames(&self) -> Result<()> {
        if self.is_request {
            return Err(Error::other("a plain request is answered by a response, not by frames"));
        }
        self.may_send()
    }

    pub(super) fn set_status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The status of the answer to the client's request, unless it is accepted; `outcome` is the application's.
    pub(super) fn status(&self, outcome: &Result<()>) -> Option<StatusCode> {
        self.status.or_else(|| self.is_undecided().then(|| self.refusal(outcome).status))
    }

    // ---- the end

    pub(super) fn end(&mut self, close: Close) {
        if !self.is_ended() {
            self.phase = PhaseState::Ended(close);
        }
    }

    pub(super) fn disconnected(&mut self, close: Close) {
        if !self.is_ended() {
            self.phase = PhaseState::Lost(close);
        }
    }

    pub(super) fn close(&self) -> Option<&Close> {
        match &self.phase {
            PhaseState::Ended(close) | PhaseState::Lost(close) => Some(close),
            PhaseState::Undecided | PhaseState::Accepting | PhaseState::Open => None,
        }
    }

    /// Whether the peer ended it, or the network.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.phase, PhaseState::Lost(_))
    }

    /// The close after a refusal. For a request that is the whole answer, and all is well.
    pub(super) fn refusal_close(&self) -> Close {
        if self.is_request { Close::NORMAL.into() } else { Close::ABNORMAL.into() }
    }

    pub(super) fn end_for(&self, outcome: &Result<()>) -> OutcomeEnd {
        match (&self.phase, outcome) {
            (PhaseState::Ended(_) | PhaseState::Lost(_), _) => OutcomeEnd::Done,
            (PhaseState::Undecided, outcome) => OutcomeEnd::Refuse(self.refusal(outcome)),
            (_, Ok(()) | Err(Error::Closed)) => OutcomeEnd::Close(Close::NORMAL.into()),
            (_, Err(error)) => OutcomeEnd::Close(match error.fault() {
                Fault::Client => Close::INVALID_PAYLOAD.into(),
                Fault::Layer | Fault::Overload => Close::TRY_AGAIN_LATER.into(),
                Fault::None | Fault::Server => Close::INTERNAL.into(),
            }),
        }
    }

    /// The answer to a client about which no decision was made.
    fn refusal(&self, outcome: &Result<()>) -> Refuse {
        match outcome {
            Err(error) => error.into(),
            Ok(()) if self.is_request => StatusCode::INTERNAL_SERVER_ERROR.into(), // it has no answer at all
            Ok(()) => Refuse::default(),
        }
    }

    // ---- draining

    /// Stops reading from the client.
    pub(super) fn mute(&mut self) {
        self.drain.get_or_insert_with(|| Box::new(DrainStep::Muted));
    }

    /// Takes [`mute`](Self::mute) back, unless the connection is being ended by now. Returns whether it did.
    pub(super) fn unmute(&mut self) -> bool {
        self.drain.take_if(|step| !matches!(**step, DrainStep::Ending(_))).is_some()
    }

    /// Reads again, and ends with this close at the client's next frame. Returns false unless the connection is muted.
    pub(super) fn refuse_input(&mut self, close: Close) -> bool {
        let muted = self.is_muted();
        if muted {
            self.drain = Some(Box::new(DrainStep::Refusing(close)));
        }
        muted
    }

    /// Ends the connection once all its input is handled.
    pub(super) fn end_after_input(&mut self, close: Close) {
        self.drain = Some(Box::new(DrainStep::Ending(close)));
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(super) fn is_muted(&self) -> bool {
        matches!(self.drain.as_deref(), Some(DrainStep::Muted))
    }

    /// Whether the connection ends once all its input is handled.
    pub(super) fn is_ending(&self) -> bool {
        self.pending_close().is_some()
    }

    /// The close with which the connection ends once all its input is handled.
    pub(super) fn pending_close(&self) -> Option<&Close> {
        if let Some(DrainStep::Ending(close)) = self.drain.as_deref() { Some(close) } else { None }
    }

    /// The close with which the client's next frame ends the connection.
    pub(super) fn refusing_close(&self) -> Option<&Close> {
        if let Some(DrainStep::Refusing(close)) = self.drain.as_deref() { Some(close) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Lifecycle {
        let mut lifecycle = Lifecycle::new(false);
        assert!(lifecycle.accept().is_ok_and(|first| first));
        lifecycle.accepted();
        lifecycle
    }

    #[test]
    fn the_first_end_counts() {
        let mut lifecycle = accepted();
        lifecycle.end(Close::NORMAL.into());
        lifecycle.disconnected(Close::ABNORMAL.into());
        assert_eq!(lifecycle.close(), Some(&Close::NORMAL.into()));
        assert!(!lifecycle.is_lost());
        assert!(matches!(lifecycle.accept(), Err(Error::Closed)));
    }

    #[test]
    fn outcomes_decide_the_end() {
        let undecided = [(Ok(()), 403), (Err(Error::bad_input("x")), 400)];
        for (outcome, status) in undecided {
            let end = Lifecycle::new(false).end_for(&outcome);
            assert!(matches!(end, OutcomeEnd::Refuse(refuse) if refuse.status == status), "{outcome:?}");
        }
        let open = [(Ok(()), 1000), (Err(Error::bad_input("x")), 1007), (Err(Error::other("x")), 1011)];
        for (outcome, code) in open {
            let end = accepted().end_for(&outcome);
            assert!(matches!(end, OutcomeEnd::Close(close) if close.code == code), "{outcome:?}");
        }
    }

    #[test]
    fn an_ending_stays() {
        let mut lifecycle = accepted();
        lifecycle.mute();
        assert!(lifecycle.is_muted() && lifecycle.unmute() && !lifecycle.is_draining());
        assert!(!lifecycle.refuse_input(Close::GOING_AWAY.into()), "only after a mute");
        lifecycle.mute();
        assert!(lifecycle.refuse_input(Close::GOING_AWAY.into()));
        assert!(!lifecycle.is_muted() && lifecycle.refusing_close().is_some() && lifecycle.takes_messages());
        lifecycle.end_after_input(Close::GOING_AWAY.into());
        assert!(!lifecycle.unmute() && lifecycle.is_ending() && !lifecycle.takes_messages());
    }
}
