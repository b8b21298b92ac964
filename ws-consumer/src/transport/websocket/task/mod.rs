//! [`WebSocketTask`]: the task of an open WebSocket. A future written by hand, because every idle client costs its size.
//!
//! Each poll reads the client's frames, polls the application, and writes the output of both. Then the task sleeps until
//! the stream, the mailbox, a timer or the application wakes it.

mod deadlines;
mod read;
mod time;
mod write;

use std::{
    cell::RefCell,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::upgrade::OnUpgrade;

use self::deadlines::Deadlines;
use super::{
    framing::{LazyWebSocket, encoder},
    keepalive::Keepalive,
};
use crate::{
    connections::Registration,
    frame::Close,
    limits::Limits,
    wire::{Incoming, Wire},
};

/// The number of bytes collected for one write.
const BATCH_SIZE: usize = 64 << 10;

/// An open WebSocket with its application.
pub(super) struct WebSocketTask {
    /// Closed with the connection, although the application may run longer.
    websocket: LazyWebSocket,
    wire: Wire,
    state: WebSocketState,
    /// Bytes that the kernel has not taken. Without an allocation while the client keeps up.
    unsent: Vec<u8>,
    /// Whether `unsent` begins within a frame.
    mid_frame: bool,
    /// Whether tungstenite may have bytes to write.
    control_due: bool,
    /// The application's close, sent after all output before it.
    final_close: Option<Box<Close>>,
    /// The end on the client's side, acted on after the frames before it have been handled.
    ending: Option<Box<PeerEnding>>,
    keepalive: Keepalive,
    deadlines: Deadlines,
    limits: Arc<Limits>,
    _registration: Registration,
}

/// The reason for an end on the client's side.
enum PeerEnding {
    /// A close frame of the client.
    Closed(Close),
    /// A violation of the protocol or of a limit, with the close sent in response.
    Fault(Close),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WebSocketState {
    Open,
    /// A close frame was sent or received; the peer's is outstanding or tungstenite's is being written.
    Closing,
    /// A close frame was sent because of a violation. Further input is read and discarded: with unread input the kernel
    /// would reset the connection, and the peer might lose the close frame.
    Lingering,
    /// The stream is closed; only the application may still run.
    Released,
}

thread_local! {
    /// The bytes of one write. One per thread: it is empty whenever no connection is being polled.
    static BATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl WebSocketTask {
    pub(super) fn new(
        upgrade: OnUpgrade,
        wire: Wire,
        limits: Arc<Limits>,
        registration: Registration,
    ) -> Self {
        Self {
            websocket: LazyWebSocket::new(upgrade),
            wire,
            state: WebSocketState::Open,
            unsent: Vec::new(),
            mid_frame: false,
            control_due: false,
            final_close: None,
            ending: None,
            keepalive: Keepalive::new(&limits),
            deadlines: Deadlines::new(&limits),
            limits,
            _registration: registration,
        }
    }

    /// Reads, runs the application and writes until no step makes progress.
    fn run(&mut self, cx: &mut Context<'_>, batch: &mut Vec<u8>) {
        if self.websocket.is_upgrading() && self.poll_upgrade(cx).is_pending() {
            return;
        }
        loop {
            let drained = self.read(cx);
            let _: Poll<()> = self.wire.poll(cx);
            let wrote = self.write(cx, batch);
            if let Some(ending) = self.ending.take() {
                self.apply_ending(*ending);
                continue;
            }
            if !drained && self.may_read() {
                // Yields: a client that sends hundreds of frames at once would fill the mailboxes of a whole group before
                // any member could empty its own. The wake-up is deferred like the members' wake-ups, or it would come
                // before theirs.
                let _: Poll<()> = std::pin::pin!(tokio::task::yield_now()).poll(cx);
                return;
            }
            if wrote || self.poll_deadlines(cx).is_ready() {
                continue;
            }
            return;
        }
    }

    /// Waits for the end of the upgrade: the application runs once the client can receive.
    fn poll_upgrade(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.websocket.poll_open(cx, &self.limits).is_ready() {
            self.deadlines.set_peer(None);
            return Poll::Ready(());
        }
        if !self.deadlines.has_peer() {
            self.deadlines.set_peer(Some(self.limits.close_timeout));
            // The response mostly leaves within this turn of the runtime, and needs no timer.
            let _: Poll<()> = std::pin::pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        ready!(self.deadlines.poll(cx));
        self.lost();
        Poll::Ready(())
    }

    fn set_ending(&mut self, ending: PeerEnding) {
        self.ending = Some(Box::new(ending)); // boxed: most connections have none
    }

    fn apply_ending(&mut self, ending: PeerEnding) {
        self.final_close = None;
        let close = match ending {
            PeerEnding::Closed(close) => {
                self.control_due = true; // tungstenite has queued the reply
                self.enter(WebSocketState::Closing);
                close
            }
            PeerEnding::Fault(close) => {
                encoder::put_close(&mut self.unsent, &close);
                self.enter(WebSocketState::Lingering);
                close
            }
        };
        self.wire.feed(Incoming::Disconnect(close));
    }

    /// Enters a state that ends within the close timeout.
    fn enter(&mut self, state: WebSocketState) {
        self.state = state;
        self.deadlines.set_message(None);
        self.deadlines.set_peer(Some(self.limits.close_timeout));
    }

    fn lost(&mut self) {
        self.wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
        self.release();
    }

    fn release(&mut self) {
        self.state = WebSocketState::Released;
        self.websocket = LazyWebSocket::Closed;
        self.unsent = Vec::new();
        self.deadlines.clear();
    }
}

impl Future for WebSocketTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut batch = BATCH.take();
        self.run(cx, &mut batch);
        if batch.capacity() <= 4 * BATCH_SIZE {
            batch.clear();
            BATCH.set(mem::take(&mut batch));
        }
        let ended = self.state == WebSocketState::Released && self.wire.has_ended();
        if ended { Poll::Ready(()) } else { Poll::Pending }
    }
}
