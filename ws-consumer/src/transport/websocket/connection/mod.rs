//! One open WebSocket: a future written by hand, because it is what every idle client costs.
//!
//! Each poll reads what the client sent, lets the application run, and writes what came of it; then it sleeps until
//! the socket, the mailbox, a timer or something the application waits for wakes it.
//!
//! Frames are written beside tungstenite, straight to the connection: it copies each payload into a buffer that never
//! shrinks, and knows no bytes that were made once for many. Two rules keep the two writers apart:
//! * bytes of ours go out only when tungstenite has none left to write (`control` is false), unless one of our frames
//!   is half out already (`midway`);
//! * tungstenite is polled only when ours are all out (`rest` is empty), because it writes pongs while it reads.

mod deadlines;
mod read;
mod time;
mod write;

use std::{
    cell::RefCell,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::upgrade::OnUpgrade;

use self::deadlines::Deadlines;
use super::{keepalive::Keepalive, line::Line};
use crate::{
    connections::Registration,
    frame::Close,
    limits::Limits,
    wire::{Incoming, Wire},
};

/// Bytes that are gathered for one write.
const WRITE: usize = 64 << 10;

pub(super) struct Connection {
    /// Gone as soon as the connection is, though the application may take longer.
    line: Line,
    wire: Wire,
    stage: Stage,
    /// What the kernel did not take yet. Without memory while the client keeps up.
    rest: Vec<u8>,
    /// Does `rest` begin within a frame?
    midway: bool,
    /// May tungstenite have bytes to write?
    control: bool,
    /// To be sent once all that came before it is out.
    farewell: Option<Box<Close>>,
    /// How the client ended it. It is answered after the frames that came before have been handled.
    ending: Option<Box<Ending>>,
    keepalive: Keepalive,
    deadlines: Deadlines,
    limits: Arc<Limits>,
    _registration: Registration,
}

enum Ending {
    /// With a close of its own.
    Closed(Close),
    /// By breaking the protocol or a limit: this is what it is told.
    Faulty(Close),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// A close was sent or received; the other one is on its way.
    Closing,
    /// The peer broke the rules and was told so. What it still sends is read and thrown away: closing at once would
    /// make the kernel reset the connection, and the peer might lose our last word.
    Lingering,
    /// Nothing is left of it but the application.
    Gone,
}

thread_local! {
    /// What is gathered for a write. One per thread: it is empty whenever no connection is being polled.
    static GATHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Connection {
    pub(super) fn new(
        upgrade: OnUpgrade,
        wire: Wire,
        limits: Arc<Limits>,
        registration: Registration,
    ) -> Self {
        Self {
            line: Line::Coming(upgrade),
            wire,
            stage: Stage::Open,
            rest: Vec::new(),
            midway: false,
            control: false,
            farewell: None,
            ending: None,
            keepalive: Keepalive::new(&limits),
            deadlines: Deadlines::new(&limits),
            limits,
            _registration: registration,
        }
    }

    /// Goes round until nothing moves any more.
    fn run(&mut self, cx: &mut Context<'_>, gather: &mut Vec<u8>) {
        if self.line.is_coming() && self.waits_for_the_line(cx) {
            return;
        }
        loop {
            let dry = self.read(cx);
            let _: Poll<()> = self.wire.poll(cx);
            let wrote = self.write(cx, gather);
            if let Some(ending) = self.ending.take() {
                self.end(*ending);
                continue;
            }
            if !dry && self.may_read() {
                // Others first: a client that sends hundreds of frames at once would fill the mailboxes of a whole room
                // before any of its members had a turn to empty theirs.
                // Deferred as the members' own yield is, or it would come back sooner than they do.
                let _: Poll<()> = std::pin::pin!(tokio::task::yield_now()).poll(cx);
                return;
            }
            if wrote || self.keep_time(cx).is_ready() {
                continue;
            }
            return;
        }
    }

    /// The application goes on once the client can hear it.
    fn waits_for_the_line(&mut self, cx: &mut Context<'_>) -> bool {
        if self.line.poll_open(cx, &self.limits).is_ready() {
            self.deadlines.set_limit(None);
            return false;
        }
        if !self.deadlines.has_limit() {
            self.deadlines.set_limit(Some(self.limits.close_timeout));
            // As a rule the answer leaves within this turn of the runtime, and no timer has to be set.
            let _: Poll<()> = std::pin::pin!(tokio::task::yield_now()).poll(cx);
            return true;
        }
        if self.deadlines.poll(cx).is_pending() {
            return true;
        }
        self.lost();
        false
    }

    fn end_by(&mut self, ending: Ending) {
        self.ending = Some(Box::new(ending)); // boxed: most connections never have one
    }

    fn end(&mut self, ending: Ending) {
        self.farewell = None;
        let close = match ending {
            Ending::Closed(close) => {
                self.control = true; // the answer, which tungstenite has made
                self.enter(Stage::Closing);
                close
            }
            Ending::Faulty(close) => {
                super::codec::put_close(&mut self.rest, &close);
                self.enter(Stage::Lingering);
                close
            }
        };
        self.wire.feed(Incoming::Disconnect(close));
    }

    /// The rest is bounded in time.
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.deadlines.set_message(None);
        self.deadlines.set_limit(Some(self.limits.close_timeout));
    }

    fn lost(&mut self) {
        self.wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
        self.gone();
    }

    fn gone(&mut self) {
        self.stage = Stage::Gone;
        self.line = Line::Gone;
        self.rest = Vec::new();
        self.deadlines.clear();
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut gather = GATHER.take();
        self.run(cx, &mut gather);
        if gather.capacity() <= 4 * WRITE {
            gather.clear();
            GATHER.set(mem::take(&mut gather));
        }
        let ended = self.stage == Stage::Gone && self.wire.has_ended();
        if ended { Poll::Ready(()) } else { Poll::Pending }
    }
}
