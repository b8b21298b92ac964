//! What a connection does when its time has come.

use std::task::{Context, Poll, ready};

use super::{
    super::{codec, keepalive::Look},
    Connection, Ending, Stage,
    deadlines::Due,
};
use crate::{frame::Close, limits, wire::Incoming};

impl Connection {
    /// Ready if the time has come for something, which is then done.
    pub(super) fn keep_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.deadlines.poll(cx)) {
            Due::Limit => self.too_late(),
            Due::Message => {
                self.deadlines.set_message(None);
                self.end_by(Ending::Faulty(Close::new(Close::POLICY, "the message takes too long")));
            }
            Due::End => {
                self.deadlines.clear();
                self.wire.link().shut_down(limits::too_old());
            }
            Due::Look => self.look(),
            Due::Nothing => {}
        }
        self.deadlines.rearm();
        Poll::Ready(())
    }

    fn too_late(&mut self) {
        if self.stage == Stage::Open {
            let channel = self.wire.link().channel();
            tracing::warn!(?channel, "closing a client that takes nothing of what is sent");
            self.wire.link().count_slow();
            self.wire.feed(Incoming::Disconnect(Close::new(Close::TRY_AGAIN_LATER, "too slow")));
        }
        self.gone();
    }

    fn look(&mut self) {
        self.deadlines.set_look(self.limits.ping_interval);
        if self.stage != Stage::Open {
            return;
        }
        let deaf = !self.may_read();
        match self.keepalive.look(&self.limits, deaf) {
            Look::Wait(wait) => self.deadlines.set_look(wait),
            Look::Ping(wait) => {
                self.deadlines.set_look(wait);
                self.rest.extend_from_slice(&codec::PING);
            }
            Look::Idle => self.wire.link().shut_down(limits::idle()),
            Look::Gone => {
                tracing::debug!("a client does not answer pings");
                self.lost();
            }
        }
    }
}
