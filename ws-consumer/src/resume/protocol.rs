//! The control object of [the protocol](crate::docs::transports).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::frame::Close;

/// The control object: everything that is not a frame, in either direction.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ControlObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<SessionOpen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gap: Option<Gap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<u64>,
    /// The number of the last frame that the carrier has, acknowledged or not. Between processes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<u64>,
    /// Whether the client has sent something over the carrier, and so has its newest token. Between processes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confirmed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<RequestMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ping: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pong: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) close: Option<SessionClose>,
}

/// The requested kind of answer to a `POST`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RequestMode {
    LongPoll,
    Poll,
    Send,
}

/// The beginning of a carrier.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct SessionOpen {
    pub(super) token: String,
    pub(super) resumed: bool,
    pub(super) cursor: u64,
    pub(super) ack: u64,
    /// In seconds.
    pub(super) ttl: f64,
    /// In seconds.
    pub(super) heartbeat: f64,
    pub(super) protocol: Option<String>,
}

/// Frames that are lost for good; without an end, all frames of a session that is gone.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: Option<u64>,
}

/// The end of a session.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub(super) struct SessionClose {
    pub(super) code: u16,
    pub(super) reason: String,
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
    pub(super) fn after(cursor: u64) -> Self {
        Self { from: cursor.saturating_add(1), to: None }
    }
}

impl ControlObject {
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and JSON are JSON")
    }

    pub(super) fn ack(ack: u64) -> Self {
        Self { ack: Some(ack), ..Self::default() }
    }

    pub(super) fn close(close: Close) -> Self {
        Self { close: Some(close.into()), ..Self::default() }
    }
}
