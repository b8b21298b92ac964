//! The deadlines of [`WebSocketTask`].

use std::task::{Context, Poll, ready};

use super::{
    super::{framing::encoder, keepalive::Liveness},
    PeerEnding, WebSocketState, WebSocketTask,
    deadlines::DueDeadline,
};
use crate::{
    frame::Close,
    limits,
    wire::{Incoming, PendingInput},
};

impl WebSocketTask {
    /// Waits for a deadline, and acts on it.
    pub(super) fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.deadlines.poll(cx)) {
            DueDeadline::Peer => self.peer_timed_out(),
            DueDeadline::Message => {
                self.deadlines.set_message(None);
                self.set_ending(PeerEnding::Fault(Close::new(Close::POLICY, "the message takes too long")));
            }
            DueDeadline::MaxAge => {
                self.deadlines.clear();
                self.wire.connection().shut_down(limits::too_old(), PendingInput::Drop);
            }
            DueDeadline::Liveness => self.check_liveness(),
            DueDeadline::None => {}
        }
        self.deadlines.rearm();
        Poll::Ready(())
    }

    fn peer_timed_out(&mut self) {
        if self.state == WebSocketState::Open {
            let channel = self.wire.connection().channel();
            tracing::warn!(?channel, "closing a client that takes no output");
            self.wire.connection().count_slow();
            self.wire.feed(Incoming::Disconnect(Close::new(Close::TRY_AGAIN_LATER, "too slow")));
        }
        self.release();
    }

    fn check_liveness(&mut self) {
        self.deadlines.set_liveness(self.limits.ping_interval);
        if self.state != WebSocketState::Open {
            return;
        }
        let paused = !self.may_read();
        match self.keepalive.check(&self.limits, paused) {
            Liveness::Wait(wait) => self.deadlines.set_liveness(wait),
            Liveness::Ping(wait) => {
                self.deadlines.set_liveness(wait);
                encoder::put_ping(&mut self.unsent);
            }
            Liveness::Idle => self.wire.connection().shut_down(limits::idle(), PendingInput::Drop),
            Liveness::Gone => {
                tracing::debug!("a client does not answer pings");
                self.lost();
            }
        }
    }
}
