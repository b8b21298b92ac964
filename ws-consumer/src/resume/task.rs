//! The task of a session, which runs the application, carried or not.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::session::Session;
use crate::{
    connections::Registration,
    wire::{Incoming, Wire},
};

/// A future that ends with the application.
pub(super) struct SessionTask {
    session: Arc<Session>,
    wire: Wire,
    timer: Pin<Box<Sleep>>,
    /// Whether the application was given the rest of the inbox before the server shuts down.
    fed_rest: bool,
    _registration: Registration,
}

impl SessionTask {
    pub(super) fn new(session: Arc<Session>, wire: Wire, registration: Registration) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        Self { session, wire, timer, fed_rest: false, _registration: registration }
    }

    /// Sets the timer to the next deadline if it would fire too late; a timer that fires too early is set again. Ready if a
    /// deadline is due.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.session.keep_time() else { return Poll::Pending };
        if next < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(next);
        }
        self.timer.as_mut().poll(cx)
    }
}

impl Future for SessionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if let Some(close) = this.session.begin_poll(cx) {
                this.session.feed_rest(&mut this.wire);
                this.wire.feed(Incoming::Disconnect(close));
            }
            // Once: later frames would keep it running.
            if this.wire.is_ending() && !mem::replace(&mut this.fed_rest, true) {
                this.session.feed_rest(&mut this.wire);
            }
            let fed = this.session.feed(&mut this.wire);
            let ended = this.wire.poll(cx).is_ready();
            let moved = this.session.collect(&mut this.wire);
            // Its last output may have to wait for a slow client.
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
