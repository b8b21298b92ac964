//! Frames, and the close of a connection.

mod event_stream;
mod json;

use bytes::Bytes;
use channel_layer::{Message, Value};
use serde::{Serialize, de::DeserializeOwned};

pub use self::event_stream::{EventStreamOptions, ServerSentEvent};
pub(crate) use self::{
    event_stream::{HEARTBEAT, opening, put_field},
    json::read,
};
use crate::error::{Error, MisuseError, Result};

/// A complete WebSocket message, from or to the client. It may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Bytes.
    Binary(Bytes),
    /// Text.
    Text(String),
}

impl Frame {
    /// A text frame with `value` as JSON.
    ///
    /// # Errors
    /// [`Misuse`](Error::Misuse) if the value cannot be serialized; maps need keys that are strings or numbers.
    #[track_caller]
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        match serde_json::to_string(value) {
            Ok(text) => Ok(Self::Text(text)),
            Err(fault) => {
                let fault = channel_layer::Error::InvalidMessage(fault.into());
                Err(Error::Misuse(MisuseError::new("json", fault)))
            }
        }
    }

    /// Reads a text frame as JSON.
    ///
    /// A lone surrogate, such as `"\ud83d"`, is read as U+FFFD: browsers write it for half of an emoji, and no Rust string
    /// can hold it.
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) for a binary frame and for text that is no such JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        read(self.text()?).map_err(Error::bad_input)
    }

    /// The text of a text frame.
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) for a binary frame.
    pub fn text(&self) -> Result<&str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Binary(_) => Err(Error::bad_input("a text frame is expected")),
        }
    }

    /// The bytes of a binary frame.
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) for a text frame.
    pub fn bytes(&self) -> Result<&Bytes> {
        match self {
            Self::Binary(bytes) => Ok(bytes),
            Self::Text(_) => Err(Error::bad_input("a binary frame is expected")),
        }
    }

    /// The frame that a message of type [`websocket.send`](channel_layer::WEBSOCKET_SEND) stands for.
    pub fn from_message(message: &Message) -> Option<Self> {
        let text = message.get("text").and_then(Value::as_str).map(Self::from);
        let bytes = || message.get("bytes").and_then(Value::as_bytes).map(|bytes| bytes.to_vec().into());
        message.is_websocket_send().then(|| text.or_else(bytes)).flatten()
    }

    /// Returns the message of type [`websocket.send`](channel_layer::WEBSOCKET_SEND) that stands for the frame: sent to a
    /// channel or group, it reaches the sockets past their consumers.
    pub fn into_message(self) -> Message {
        match self {
            Self::Text(text) => Message::websocket_text(text),
            Self::Binary(bytes) => Message::websocket_bytes(bytes),
        }
    }

    /// Returns the payload.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Binary(bytes) => bytes,
            Self::Text(text) => text.into(),
        }
    }

    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// Releases spare capacity, for a frame that may wait for a long time.
    pub(crate) fn shrunk(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.into_boxed_str().into()),
            binary => binary,
        }
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<String> for Frame {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Frame {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// The longest reason that fits into a close frame with the code (RFC 6455, section 5.5).
const MAX_REASON: usize = 123;

/// The end of a connection: a close code (RFC 6455, section 7.4) and a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code. 3000 to 4999 are the application's.
    pub code: u16,
    /// The reason, for people. At most 123 bytes of it are sent.
    pub reason: String,
}

impl Close {
    /// The normal end.
    pub const NORMAL: u16 = 1000;
    /// The server shuts down, or the page is left.
    pub const GOING_AWAY: u16 = 1001;
    /// A frame that breaks the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// The peer sent a close without a code. Never sent.
    pub const NO_STATUS: u16 = 1005;
    /// The connection broke without a close. Never sent.
    pub const ABNORMAL: u16 = 1006;
    /// Text that is no UTF-8, or content of the wrong form.
    pub const INVALID_PAYLOAD: u16 = 1007;
    /// A rule of the server was broken.
    pub const POLICY: u16 = 1008;
    /// A message over the limit.
    pub const TOO_BIG: u16 = 1009;
    /// The server failed.
    pub const INTERNAL: u16 = 1011;
    /// The server restarts. Clients reconnect.
    pub const SERVICE_RESTART: u16 = 1012;
    /// The client was too slow, or the server is overloaded. Clients reconnect later.
    pub const TRY_AGAIN_LATER: u16 = 1013;

    /// A close with a reason.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// Returns the part of the reason that fits into a close frame, cut between characters: at most 123
    /// bytes, over every transport.
    pub fn sendable_reason(&self) -> &str {
        let end =
            (0..=MAX_REASON.min(self.reason.len())).rev().find(|end| self.reason.is_char_boundary(*end));
        &self.reason[..end.unwrap_or(0)]
    }

    /// Whether an endpoint may send this code.
    pub fn is_sendable(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for Close {
    fn from(code: u16) -> Self {
        Self { code, reason: String::new() }
    }
}

impl Default for Close {
    fn default() -> Self {
        Self::NORMAL.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_needs_text() {
        assert_eq!(Frame::from("[1,2]").json::<Vec<u8>>().unwrap(), [1, 2]);
        assert!(Frame::from(b"[1,2]".to_vec()).json::<Vec<u8>>().unwrap_err().is_bad_input());
        assert!(Frame::from("[1,").json::<Vec<u8>>().unwrap_err().is_bad_input());
    }

    #[test]
    fn cuts_reasons_between_chars() {
        for (reason, len) in
            [("x".repeat(123), 123), ("x".repeat(124), 123), ("é".repeat(100), 122), ("汉".repeat(50), 123)]
        {
            let close = Close::new(4000, reason.clone());
            assert_eq!(close.sendable_reason().len(), len);
            assert!(reason.starts_with(close.sendable_reason()));
        }
        assert_eq!(Close::from(4000).sendable_reason(), "");
    }

    #[test]
    fn some_codes_are_never_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert!(!Close::is_sendable(code), "{code}");
        }
        assert!(Close::is_sendable(1000) && Close::is_sendable(4999));
    }
}
