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

use std::{
    cell::RefCell,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, Stream};
use hyper_tungstenite::{
    HyperWebsocketStream,
    tungstenite::{Error as WsError, Message as WsMessage, error::ProtocolError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{
    codec,
    keepalive::{Keepalive, Look},
};
use crate::{
    frame::{Close, Frame},
    transport::{Limits, sockets::Registration},
    wire::{Incoming, Outgoing, Wire},
};

/// Bytes that are gathered for one write.
const WRITE: usize = 64 << 10;

pub(super) struct Connection {
    /// Gone as soon as the connection is, though the application may take longer.
    websocket: Option<HyperWebsocketStream>,
    wire: Wire,
    stage: Stage,
    /// What the kernel did not take yet. Without memory while the client keeps up.
    rest: Vec<u8>,
    /// Does `rest` begin within a frame?
    midway: bool,
    /// May tungstenite have bytes to write?
    control: bool,
    /// To be sent once all that came before it is out.
    farewell: Option<Close>,
    /// What the client closed with. It is answered after the frames that came before it have been handled.
    leaving: Option<Close>,
    keepalive: Keepalive,
    look_at: Instant,
    /// When the other side has had its time: to take what is written, or to answer a close.
    limit_at: Option<Instant>,
    /// Rings at the earlier of the two. Boxed: by itself it is as large as all the rest.
    timer: Pin<Box<Sleep>>,
    limits: Arc<Limits>,
    _registration: Registration,
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
        websocket: HyperWebsocketStream,
        wire: Wire,
        limits: Arc<Limits>,
        registration: Registration,
    ) -> Self {
        Self {
            websocket: Some(websocket),
            wire,
            stage: Stage::Open,
            rest: Vec::new(),
            midway: false,
            control: false,
            farewell: None,
            leaving: None,
            keepalive: Keepalive::default(),
            look_at: Instant::now() + limits.ping_interval,
            limit_at: None,
            timer: Box::pin(sleep(limits.ping_interval)),
            limits,
            _registration: registration,
        }
    }

    /// Goes round until nothing moves any more.
    fn run(&mut self, cx: &mut Context<'_>, gather: &mut Vec<u8>) {
        loop {
            let dry = self.read(cx);
            let _: Poll<()> = self.wire.poll(cx);
            let wrote = self.write(cx, gather);
            if let Some(close) = self.leaving.take() {
                self.control = true; // the answer, which tungstenite has made
                self.end(close, Stage::Closing);
                continue;
            }
            let more_to_read = !dry && self.may_read();
            if wrote || more_to_read || self.keep_time(cx).is_ready() {
                continue;
            }
            return;
        }
    }

    // ---- reading

    /// Reads what is there. False if more may be there, left alone because the application is behind.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if self.stage == Stage::Lingering {
                return self.discard(cx);
            }
            let may_read = self.may_read();
            let Some(websocket) = self.websocket.as_mut().filter(|_| may_read) else { return false };
            match Pin::new(websocket).poll_next(cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(message))) => {
                    self.received(message);
                    // At once: between a pong and the next frame nothing of ours may slip in.
                    if self.control && self.poll_control(cx).is_pending() {
                        return false;
                    }
                }
                Poll::Ready(Some(Err(error))) => self.failed(&error),
                Poll::Ready(None) => self.lost(),
            }
        }
    }

    fn may_read(&self) -> bool {
        match self.stage {
            // A client that takes nothing is not listened to either: its pings would ask for more.
            Stage::Open => {
                self.limit_at.is_none()
                    && self.rest.is_empty()
                    && self.leaving.is_none()
                    && self.wire.wants_input()
            }
            Stage::Closing => self.rest.is_empty(),
            Stage::Lingering | Stage::Gone => false,
        }
    }

    fn received(&mut self, message: WsMessage) {
        self.keepalive.heard();
        // Copied: a payload that is kept would keep the whole buffer it was read into.
        match message {
            WsMessage::Text(text) => self.frame(Frame::Text(text.as_str().to_owned())),
            WsMessage::Binary(bytes) => self.frame(Frame::Binary(bytes.to_vec().into())),
            WsMessage::Ping(_) => self.control = true,
            WsMessage::Close(close) if self.stage == Stage::Open => {
                self.leaving = Some(codec::received_close(close));
            }
            WsMessage::Close(_) => self.control = true,
            WsMessage::Pong(_) | WsMessage::Frame(_) => {}
        }
    }

    fn frame(&mut self, frame: Frame) {
        if self.stage == Stage::Open {
            self.wire.feed(Incoming::Frame(frame));
        }
    }

    fn failed(&mut self, error: &WsError) {
        let (code, reason) = match error {
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return self.lost(),
            WsError::Protocol(fault) => (Close::PROTOCOL, fault.to_string()),
            WsError::Utf8(_) => (Close::INVALID_PAYLOAD, "the text is no UTF-8".to_owned()),
            WsError::Capacity(_) => (Close::TOO_BIG, "the message is too big".to_owned()),
            _ => return self.lost(),
        };
        tracing::debug!(code, reason, "a client broke the protocol");
        let close = Close::new(code, reason);
        codec::put_close(&mut self.rest, &close);
        self.end(close, Stage::Lingering);
    }

    fn lost(&mut self) {
        self.wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
        self.gone();
    }

    fn end(&mut self, close: Close, stage: Stage) {
        self.wire.feed(Incoming::Disconnect(close));
        self.farewell = None;
        self.enter(stage);
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.limit(Some(Instant::now() + self.limits.close_timeout));
    }

    fn gone(&mut self) {
        self.stage = Stage::Gone;
        self.websocket = None;
        self.rest = Vec::new();
        self.limit(None);
    }

    fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        let mut scratch = [0; 1024];
        while let Some(websocket) = &mut self.websocket {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(websocket.get_mut()).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => self.gone(),
            }
        }
        true
    }

    // ---- writing

    /// Writes what waits. True if something moved, so that there may be more to do.
    fn write(&mut self, cx: &mut Context<'_>, gather: &mut Vec<u8>) -> bool {
        match self.poll_write(cx, gather) {
            Poll::Ready(Ok(moved)) => moved,
            Poll::Ready(Err(_)) => {
                self.lost();
                true
            }
            Poll::Pending => {
                if self.limit_at.is_none() {
                    self.limit(Some(Instant::now() + self.limits.write_timeout));
                }
                false
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, gather: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let blocked = !self.rest.is_empty() || self.control;
        ready!(self.poll_rest(cx))?;
        if blocked && self.stage == Stage::Open {
            self.limit(None);
        }
        let mut moved = false;
        while self.gather(gather) {
            moved = true;
            ready!(self.poll_out(cx, gather))?;
        }
        match self.stage {
            Stage::Open if self.farewell.is_some() => self.say_farewell(),
            Stage::Lingering => ready!(self.poll_shutdown(cx))?,
            _ => return Poll::Ready(Ok(moved)),
        }
        Poll::Ready(Ok(moved || self.stage == Stage::Closing))
    }

    /// Takes outputs until there is enough for a write. False if there was nothing to take.
    fn gather(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        let (farewell, stage) = (&mut self.farewell, self.stage);
        let room = self.wire.take_outputs(|outputs| {
            while out.len() < WRITE
                && farewell.is_none()
                && let Some(output) = outputs.pop_front()
            {
                match output {
                    _ if stage != Stage::Open => {}
                    Outgoing::Frame(frame) => codec::put_frame(out, &frame),
                    Outgoing::Encoded(message) => out.extend_from_slice(codec::encoded(&message)),
                    Outgoing::Close(close) => *farewell = Some(close),
                    _ => {}
                }
            }
        });
        room || !out.is_empty()
    }

    /// Writes `out`; what the kernel does not take is kept.
    fn poll_out(&mut self, cx: &mut Context<'_>, out: &[u8]) -> Poll<io::Result<()>> {
        let Some(websocket) = self.websocket.as_mut().filter(|_| !out.is_empty()) else {
            return Poll::Ready(Ok(()));
        };
        let written = match Pin::new(websocket.get_mut()).poll_write(cx, out) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if written < out.len() {
            self.rest = out[written..].to_vec();
            self.midway = true;
        }
        self.poll_rest(cx)
    }

    /// Everything that waits to be written, tungstenite's first.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.midway {
            ready!(self.poll_control(cx))?;
        }
        let Some(websocket) = &mut self.websocket else { return Poll::Ready(Ok(())) };
        let io = websocket.get_mut();
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.drain(..written);
            if let Some(limit) = &mut self.limit_at
                && self.stage == Stage::Open
            {
                *limit = Instant::now() + self.limits.write_timeout; // slow is not stuck
            }
        }
        self.rest = Vec::new();
        self.midway = false;
        ready!(Pin::new(io).poll_flush(cx))?; // for TLS; a TCP stream has nothing to flush
        self.poll_control(cx)
    }

    /// Pongs and closes, which are tungstenite's.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(websocket) = self.websocket.as_mut().filter(|_| self.control) else {
            return Poll::Ready(Ok(()));
        };
        match ready!(Pin::new(websocket).poll_flush(cx)) {
            Ok(()) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => self.control = false,
            Err(error) => return Poll::Ready(Err(io::Error::other(error))),
        }
        Poll::Ready(Ok(()))
    }

    /// All is out that was sent before the close: now the close.
    fn say_farewell(&mut self) {
        if let (Some(close), Some(websocket)) = (self.farewell.take(), &mut self.websocket) {
            // Always room for a control frame, and an error shows again at the next flush.
            let _ = Pin::new(websocket).start_send(WsMessage::Close(codec::close_frame(&close)));
            self.control = true;
            self.enter(Stage::Closing);
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.websocket {
            Some(websocket) => Pin::new(websocket.get_mut()).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    // ---- time

    fn limit(&mut self, at: Option<Instant>) {
        self.limit_at = at;
        if at.is_some_and(|at| at < self.timer.deadline()) {
            self.timer.as_mut().reset(at.unwrap_or(self.look_at));
        }
    }

    /// Ready if the time has come for something, which is then done.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.timer.as_mut().poll(cx));
        let now = Instant::now();
        if self.limit_at.is_some_and(|limit| limit <= now) {
            self.too_late();
        } else if self.look_at <= now {
            self.look(now);
        }
        let next = self.limit_at.map_or(self.look_at, |limit| limit.min(self.look_at));
        self.timer.as_mut().reset(next);
        Poll::Ready(())
    }

    fn too_late(&mut self) {
        if self.stage == Stage::Open {
            tracing::warn!("closing a client that takes nothing of what is sent");
            self.wire.feed(Incoming::Disconnect(Close::new(Close::TRY_AGAIN_LATER, "too slow")));
        }
        self.gone();
    }

    fn look(&mut self, now: Instant) {
        let wait = match self.keepalive.look(&self.limits) {
            _ if self.stage != Stage::Open => self.limits.ping_interval,
            Look::Wait(wait) => wait,
            Look::Ping(wait) => {
                self.rest.extend_from_slice(&codec::PING);
                wait
            }
            Look::Gone => {
                tracing::debug!("a client does not answer pings");
                self.lost();
                self.limits.ping_interval
            }
        };
        self.look_at = now + wait;
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
