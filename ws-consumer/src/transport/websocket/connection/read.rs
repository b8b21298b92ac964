//! What a connection hears.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper_tungstenite::tungstenite::{Error as WsError, Message as WsMessage, error::ProtocolError};
use tokio::io::{AsyncRead, ReadBuf};

use super::{super::codec, Connection, Ending, Stage};
use crate::{
    frame::{Close, Frame},
    wire::Incoming,
};

impl Connection {
    /// Reads what is there. False if more may be there, left alone because the application is behind.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if self.stage == Stage::Lingering {
                return self.discard(cx);
            }
            if !self.may_read() {
                return false;
            }
            match self.line.poll_next(cx, &self.limits) {
                Poll::Pending if self.has_gone_quiet() => self.line.hush(),
                Poll::Pending => {
                    self.time_message();
                    return true;
                }
                Poll::Ready(Some(Ok(message))) => {
                    self.received(message);
                    // At once: between a pong and the next frame nothing of ours may slip in.
                    if self.control && self.poll_control(cx).is_pending() {
                        return false;
                    }
                }
                Poll::Ready(Some(Err(error))) if self.stage == Stage::Open => self.failed(&error),
                Poll::Ready(Some(Err(_)) | None) => self.lost(),
            }
        }
    }

    /// Would it be worth while to give back what only a client that speaks needs? Not after each message: the next one
    /// would have to ask the system for it all again. So it is given back at the next look at the client.
    fn has_gone_quiet(&self) -> bool {
        self.stage == Stage::Open
            && !self.control
            && !self.keepalive.has_spoken()
            && !self.line.is_bare()
            && !self.line.is_mid_message()
    }

    pub(super) fn may_read(&self) -> bool {
        match self.stage {
            // A client that takes nothing is not listened to either: its pings would ask for more.
            Stage::Open => {
                !self.deadlines.has_limit()
                    && self.rest.is_empty()
                    && self.ending.is_none()
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
            WsMessage::Ping(_) => {
                self.control = true;
                self.count_control();
            }
            WsMessage::Close(close) if self.stage == Stage::Open => {
                self.end_by(Ending::Closed(codec::received_close(close)));
            }
            WsMessage::Close(_) => self.control = true,
            WsMessage::Pong(_) => self.count_control(),
            WsMessage::Frame(_) => {}
        }
    }

    fn frame(&mut self, frame: Frame) {
        self.keepalive.spoke();
        self.deadlines.set_message(None); // a control frame within the message would not end it
        if self.stage == Stage::Open {
            self.wire.feed(Incoming::Frame(frame));
        }
    }

    fn count_control(&mut self) {
        if self.stage == Stage::Open && !self.keepalive.may_control(&self.limits) {
            self.end_by(Ending::Faulty(Close::new(Close::POLICY, "too many control frames")));
        }
    }

    fn failed(&mut self, error: &WsError) {
        let flood = self.line.has_too_many_fragments();
        let (code, reason) = match error {
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return self.lost(),
            WsError::Protocol(fault) => (Close::PROTOCOL, fault.to_string()),
            WsError::Utf8(_) => (Close::INVALID_PAYLOAD, "the text is no UTF-8".to_owned()),
            WsError::Capacity(_) => (Close::TOO_BIG, "the message is too big".to_owned()),
            _ if flood => (Close::POLICY, "the message has too many fragments".to_owned()),
            _ => return self.lost(),
        };
        tracing::debug!(code, reason, "a client broke the protocol");
        self.end_by(Ending::Faulty(Close::new(code, reason)));
    }

    /// A message that has begun has to end.
    fn time_message(&mut self) {
        if self.line.is_mid_message() && self.stage == Stage::Open && !self.deadlines.has_message() {
            self.deadlines.set_message(Some(self.limits.message_timeout));
        }
    }

    fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        let mut scratch = [0; 1024];
        while let Some(mut io) = self.line.io() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(io.inner_mut()).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => self.gone(),
            }
        }
        true
    }
}
