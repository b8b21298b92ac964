//! The reading half of [`WebSocketTask`].

use std::task::{Context, Poll};

use hyper_tungstenite::tungstenite::{Error as WsError, Message as WsMessage, error::ProtocolError};

use super::{super::framing::encoder, PeerEnding, WebSocketState, WebSocketTask};
use crate::{
    frame::{Close, Frame},
    wire::Incoming,
};

impl WebSocketTask {
    /// Reads the input that has arrived. Returns false if it stopped early because the application is behind.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if self.state == WebSocketState::Lingering {
                return self.discard(cx);
            }
            if !self.may_read() {
                return false;
            }
            match self.websocket.poll_next(cx, &self.limits) {
                Poll::Pending if self.is_quiet() => self.websocket.park(),
                Poll::Pending => {
                    self.time_message();
                    return true;
                }
                Poll::Ready(Some(Ok(message))) => {
                    self.received(message);
                    // At once: no bytes of the encoder may come between a pong and the next read.
                    if self.control_due && self.poll_control(cx).is_pending() {
                        return false;
                    }
                }
                Poll::Ready(Some(Err(error))) if self.state == WebSocketState::Open => self.failed(&error),
                Poll::Ready(Some(Err(_)) | None) => self.lost(),
            }
        }
    }

    /// Whether tungstenite's state should be freed. Not after each message, because the next one would allocate it again,
    /// but after a ping interval without a message.
    fn is_quiet(&self) -> bool {
        self.state == WebSocketState::Open
            && !self.control_due
            && !self.keepalive.has_received_message()
            && !self.websocket.is_parked()
            && !self.websocket.is_mid_message()
    }

    pub(super) fn may_read(&self) -> bool {
        match self.state {
            // Input of a client that takes no output is not read: its pings would add to the output.
            WebSocketState::Open => {
                !self.deadlines.has_peer()
                    && self.unsent.is_empty()
                    && self.ending.is_none()
                    && self.wire.wants_input()
            }
            WebSocketState::Closing => self.unsent.is_empty(),
            WebSocketState::Lingering | WebSocketState::Released => false,
        }
    }

    fn received(&mut self, message: WsMessage) {
        self.keepalive.received();
        // Copied: a payload that is kept would keep the whole read buffer alive.
        match message {
            WsMessage::Text(text) => self.frame(Frame::Text(text.as_str().to_owned())),
            WsMessage::Binary(bytes) => self.frame(Frame::Binary(bytes.to_vec().into())),
            WsMessage::Ping(_) => {
                self.control_due = true;
                self.count_control();
            }
            WsMessage::Close(close) if self.state == WebSocketState::Open => {
                self.set_ending(PeerEnding::Closed(encoder::received_close(close)));
            }
            WsMessage::Close(_) => self.control_due = true,
            WsMessage::Pong(_) => self.count_control(),
            WsMessage::Frame(_) => {}
        }
    }

    fn frame(&mut self, frame: Frame) {
        self.keepalive.received_message();
        self.deadlines.set_message(None); // only here: a control frame may come within a message
        if self.state == WebSocketState::Open {
            self.wire.feed(Incoming::Frame(frame));
        }
    }

    fn count_control(&mut self) {
        if self.state == WebSocketState::Open && !self.keepalive.admits_control(&self.limits) {
            self.set_ending(PeerEnding::Fault(Close::new(Close::POLICY, "too many control frames")));
        }
    }

    fn failed(&mut self, error: &WsError) {
        let flood = self.websocket.has_too_many_fragments();
        let (code, reason) = match error {
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return self.lost(),
            WsError::Protocol(fault) => (Close::PROTOCOL, fault.to_string()),
            WsError::Utf8(_) => (Close::INVALID_PAYLOAD, "the text is no UTF-8".to_owned()),
            WsError::Capacity(_) => (Close::TOO_BIG, "the message is too big".to_owned()),
            _ if flood => (Close::POLICY, "the message has too many fragments".to_owned()),
            _ => return self.lost(),
        };
        tracing::debug!(code, reason, "a client broke the protocol");
        self.set_ending(PeerEnding::Fault(Close::new(code, reason)));
    }

    /// Sets the deadline of a message that has begun.
    fn time_message(&mut self) {
        if self.websocket.is_mid_message()
            && self.state == WebSocketState::Open
            && !self.deadlines.has_message()
        {
            self.deadlines.set_message(Some(self.limits.message_timeout));
        }
    }

    fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        if self.websocket.poll_discard(cx).is_ready() {
            self.release();
        }
        true
    }
}
