//! The control object of [the protocol](crate::docs::transports).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::frame::Close;

/// The control object: everything that is not a frame, in either direction.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ControlObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open: Option<SessionOpen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gap: Option<Gap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<u64>,
    /// The number of the last frame that the carrier has, acknowledged or not. Between processes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<u64>,
    /// Whether the client has sent something over the carrier, and so has its newest token. Between processes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confirmed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<RequestMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resume: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ping: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pong: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) close: Option<SessionClose>,
}

/// The requested kind of answer to a `POST`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RequestMode {
    LongPoll,
    Poll,
    Send,
}

/// The beginning of a carrier.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct SessionOpen {
    pub(crate) token: String,
    pub(crate) resumed: bool,
    pub(crate) cursor: u64,
    pub(crate) ack: u64,
    /// In seconds.
    pub(crate) ttl: f64,
    /// In seconds.
    pub(crate) heartbeat: f64,
    pub(crate) protocol: Option<String>,
}

/// Frames that are lost for good; without an end, all frames of a session that is gone.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
}

/// The end of a session.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub(crate) struct SessionClose {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl From<Close> for SessionClose {
    fn from(close: Close) -> Self {
        Self { code: close.code, reason: close.sendable_reason().to_owned() }
    }
}

impl From<SessionClose> for Close {
    /// Limits a client's code and reason to those of a close frame.
    fn from(SessionClose { code, reason }: SessionClose) -> Self {
        let code = Some(code).filter(|code| Self::is_sendable(*code)).unwrap_or(Self::NO_STATUS);
        let close = Self::new(code, reason);
        Self::new(code, close.sendable_reason())
    }
}

impl Gap {
    /// All frames of a session that is gone, after those that the client has.
    pub(crate) fn after(cursor: u64) -> Self {
        Self { from: cursor.saturating_add(1), to: None }
    }
}

impl ControlObject {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and JSON are JSON")
    }

    pub(crate) fn ack(ack: u64) -> Self {
        Self { ack: Some(ack), ..Self::default() }
    }

    pub(crate) fn close(close: Close) -> Self {
        Self { close: Some(close.into()), ..Self::default() }
    }
}
