//! The control object: see [the protocol](crate::docs::transports).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::frame::Close;

/// What is not a frame, in either direction.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Control {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<Open>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gap: Option<Lost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<u64>,
    /// Between processes only: the carrier has this one, though its client has not acknowledged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<u64>,
    /// Between processes only: the client has spoken over the carrier, and so has its newest token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confirmed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ping: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pong: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) close: Option<Closing>,
}

/// How a `POST` wants to be answered.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    LongPoll,
    Poll,
    Send,
}

/// A leg begins.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Open {
    pub(super) token: String,
    pub(super) resumed: bool,
    pub(super) cursor: u64,
    pub(super) ack: u64,
    /// Seconds.
    pub(super) ttl: f64,
    /// Seconds.
    pub(super) heartbeat: f64,
    pub(super) protocol: Option<String>,
}

/// Frames that nobody has any more; without an end, all of a session.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Lost {
    pub(super) from: u64,
    pub(super) to: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub(super) struct Closing {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl From<Close> for Closing {
    fn from(close: Close) -> Self {
        Self { code: close.code, reason: close.sendable_reason().to_owned() }
    }
}

impl From<Closing> for Close {
    /// A client may say only what a close frame could say.
    fn from(Closing { code, reason }: Closing) -> Self {
        let code = Some(code).filter(|code| Self::is_sendable(*code)).unwrap_or(Self::NO_STATUS);
        let close = Self::new(code, reason);
        Self::new(code, close.sendable_reason())
    }
}

impl Control {
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
