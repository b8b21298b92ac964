//! The decision about a client, and the ways to end a connection: see the table in [`lifecycle`](super::lifecycle).

use std::{
    sync::MutexGuard,
    task::{Context, Poll, Waker},
};

use http::StatusCode;

use super::{
    connection::{Connection, ConnectionState, wake_both},
    lifecycle::{OutcomeEnd, Phase},
    values::{Accept, Head, Outgoing, Refuse},
};
use crate::{
    error::{Error, Result},
    frame::Close,
};

/// The treatment of input that came before the server ends a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PendingInput {
    /// The input is dropped.
    Drop,
    /// The input is handled first, with the messages that were delivered: none of them is lost. The caller limits the
    /// time.
    Handle,
}

impl Connection {
    pub(crate) fn accept(&self, accept: Accept) -> Result<()> {
        let mut state = self.state();
        if state.lifecycle.accept()? {
            state.push(Outgoing::Accept(accept));
        }
        Ok(())
    }

    /// Ready once the answer has been handed over.
    pub(crate) fn poll_accepted(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state();
        match state.lifecycle.phase() {
            Phase::Open => Poll::Ready(Ok(())),
            Phase::Ended => Poll::Ready(Err(Error::Closed)),
            Phase::Undecided | Phase::Accepting => state.wakers.wait(cx),
        }
    }

    pub(crate) fn refuse(&self, refuse: Refuse) -> Result<()> {
        let mut state = self.state();
        if !state.lifecycle.is_undecided() {
            return Err(Error::Closed);
        }
        state.refuse(refuse);
        Ok(())
    }

    /// Begins a response.
    pub(crate) fn respond(&self, head: Head) -> Result<()> {
        let mut state = self.state();
        state.lifecycle.respond()?;
        state.push(Outgoing::Head(head));
        Ok(())
    }

    /// Returns how the connection ended, if it has.
    pub(crate) fn closed(&self) -> Option<Close> {
        self.state().lifecycle.close().cloned()
    }

    /// Returns whether the peer ended it, or the network.
    pub(crate) fn is_lost(&self) -> bool {
        self.state().lifecycle.is_lost()
    }

    /// Ready once the connection has ended; true if the peer ended it, or the network.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if state.lifecycle.is_ended() {
            Poll::Ready(state.lifecycle.is_lost())
        } else {
            state.wakers.wait(cx)
        }
    }

    /// Ends the connection for the application, after everything sent before.
    pub(crate) fn close(&self, close: Close) -> Result<()> {
        let mut state = self.state();
        if state.lifecycle.is_ended() {
            return Err(Error::Closed);
        }
        state.close(close);
        wake_application(state);
        Ok(())
    }

    /// Ends the connection as the application's outcome says. Its groups are left.
    pub(crate) fn close_for(&self, outcome: &Result<()>) {
        let mut state = self.state();
        state.close_for(outcome);
        let mailbox = state.inbound.take_mailbox();
        drop(state);
        drop(mailbox); // that takes other locks
    }

    /// Ends the connection for the server.
    pub(crate) fn shut_down(&self, close: Close, pending: PendingInput) {
        let mut state = self.state();
        if pending == PendingInput::Handle && !state.must_end_now() {
            state.lifecycle.end_after_input(close);
            return wake_both(state);
        }
        match state.lifecycle.phase() {
            Phase::Undecided => state.refuse(StatusCode::SERVICE_UNAVAILABLE.into()),
            Phase::Accepting | Phase::Open => state.close(close),
            Phase::Ended => return,
        }
        wake_application(state);
    }

    /// Ends the connection because the peer has, or the network.
    pub(crate) fn disconnected(&self, close: Close) {
        let mut state = self.state();
        state.lifecycle.disconnected(close);
        // What the client sent before it left still counts. Messages of others do not.
        state.inbox.drop_events();
        state.outbox.keep_refusal();
        let senders = state.wakers.take_senders();
        wake_both(state);
        senders.into_iter().for_each(Waker::wake);
    }

    // ---- draining

    /// Stops reading from the client; input that has been read is handled. A client that is not admitted yet
    /// is refused.
    pub(crate) fn mute(&self) {
        let mut state = self.state();
        if state.lifecycle.is_undecided() {
            drop(state);
            return self.shut_down(Close::GOING_AWAY.into(), PendingInput::Drop);
        }
        state.lifecycle.mute();
    }

    /// Takes [`mute`](Self::mute) back, unless the connection is being ended by now.
    pub(crate) fn unmute(&self) {
        let mut state = self.state();
        if state.lifecycle.unmute() {
            state.wakers.wake_task();
        }
    }

    /// Reads again, and ends the connection at the client's next frame, which is not handled.
    pub(crate) fn refuse_input(&self, close: Close) {
        let mut state = self.state();
        if state.lifecycle.refuse_input(close) {
            state.wakers.wake_task();
        }
    }

    /// Returns whether further frames come too late, for holders that buffer input. The first one refused while the
    /// closes are spread ends the connection.
    pub(crate) fn refuses_input(&self) -> bool {
        let mut state = self.state();
        if let Some(close) = state.lifecycle.refusing_close().cloned() {
            state.lifecycle.end_after_input(close);
            wake_both(state);
            return true;
        }
        state.lifecycle.is_draining()
    }

    /// Returns whether the application is handling input or a request of the client. False while it waits for
    /// the client's next frame.
    pub(crate) fn handles_input(&self) -> bool {
        let state = self.state();
        match state.lifecycle.phase() {
            Phase::Ended => false,
            // A response that has begun may go on forever.
            phase if state.lifecycle.is_request() => phase == Phase::Undecided && state.inbox.is_handling(),
            _ => state.inbox.is_busy(),
        }
    }

    /// Returns whether the connection ends once the application has handled its input.
    pub(super) fn is_ending(&self) -> bool {
        self.state().lifecycle.is_ending()
    }
}

impl ConnectionState {
    /// Takes all messages; true if no input is to be handled before the end.
    pub(super) fn must_end_now(&mut self) -> bool {
        if self.lifecycle.is_open() {
            self.inbound.take_all().into_iter().for_each(|message| self.sort(message));
        }
        // A response's inputs are its request's body, which need not be read. The holder of the wire may have more.
        let is_idle = self.inbox.is_empty() && !self.profile.buffers_input;
        self.lifecycle.is_request() || !self.lifecycle.is_open() || is_idle
    }

    /// Ends the connection, which has not ended before.
    pub(super) fn close(&mut self, close: Close) {
        self.push(match self.lifecycle.phase() {
            Phase::Undecided => Outgoing::Refuse(Refuse::default()),
            _ => Outgoing::Close(close.clone()),
        });
        self.end(close);
    }

    /// Ends the connection as the application's outcome says.
    pub(super) fn close_for(&mut self, outcome: &Result<()>) {
        match self.lifecycle.end_for(outcome) {
            OutcomeEnd::Done => {}
            OutcomeEnd::Close(close) => self.close(close),
            OutcomeEnd::Refuse(refuse) => {
                self.push(Outgoing::Refuse(refuse));
                self.end(Close::ABNORMAL.into());
            }
        }
    }

    /// Ends the connection if it was to end once all input is handled. Returns whether it did.
    pub(super) fn close_if_ending(&mut self) -> bool {
        let Some(close) = self.lifecycle.pending_close().cloned() else { return false };
        self.close(close);
        true
    }

    pub(super) fn refuse(&mut self, refuse: Refuse) {
        let close = self.lifecycle.refusal_close();
        self.push(Outgoing::Refuse(refuse));
        self.end(close);
    }

    pub(super) fn end(&mut self, close: Close) {
        self.lifecycle.end(close);
        self.inbox.clear();
    }
}

fn wake_application(mut state: MutexGuard<'_, ConnectionState>) {
    let waker = state.wakers.take_application();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}
