//! What runs a session, whether or not anything carries it.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::state::Session;
use crate::{
    connections::Registration,
    wire::{Incoming, Wire},
};

/// Ends when the application has.
pub(super) struct Task {
    session: Arc<Session>,
    wire: Wire,
    timer: Pin<Box<Sleep>>,
    /// Was the application given all that had come before the server goes away?
    seen_out: bool,
    _registration: Registration,
}

impl Task {
    pub(super) fn new(session: Arc<Session>, wire: Wire, registration: Registration) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        Self { session, wire, timer, seen_out: false, _registration: registration }
    }

    /// Moves the timer when it would ring too late; one that rings too early is set anew then. Ready if there is
    /// something to do.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.session.keep_time() else { return Poll::Pending };
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        self.timer.as_mut().poll(cx)
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if let Some(close) = this.session.begin_poll(cx) {
                this.session.feed_rest(&mut this.wire);
                this.wire.feed(Incoming::Disconnect(close));
            }
            // Once: what comes after that would keep it here.
            if this.wire.is_seen_out() && !mem::replace(&mut this.seen_out, true) {
                this.session.feed_rest(&mut this.wire);
            }
            let fed = this.session.feed(&mut this.wire);
            let ended = this.wire.poll(cx).is_ready();
            let moved = this.session.collect(&mut this.wire);
            // What it said before its end may have to wait for a slow client.
            if ended && !moved && !this.wire.has_outputs() {
                this.session.end();
                return Poll::Ready(());
            }
            if !fed && !moved && this.keep_time(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
