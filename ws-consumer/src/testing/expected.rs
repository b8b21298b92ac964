//! The expectation of a frame.

use std::fmt;

use serde_json::Value;

use crate::{frame::Frame, wire::Outgoing};

/// A frame that a test expects: text, bytes, JSON (compared as values, not as text), or a closure's choice.
pub struct Expected(ExpectedFrame);

enum ExpectedFrame {
    Frame(Frame),
    Json(Value),
    Matching(Box<dyn Fn(&Frame) -> bool + Send + Sync>),
}

impl Expected {
    /// A frame for which `is_it` holds.
    pub fn matching(is_it: impl Fn(&Frame) -> bool + Send + Sync + 'static) -> Self {
        Self(ExpectedFrame::Matching(Box::new(is_it)))
    }

    pub(super) fn matches(&self, frame: &Frame) -> bool {
        match &self.0 {
            ExpectedFrame::Frame(expected) => expected == frame,
            ExpectedFrame::Json(expected) => frame.json::<Value>().is_ok_and(|value| value == *expected),
            ExpectedFrame::Matching(is_it) => is_it(frame),
        }
    }
}

impl From<Frame> for Expected {
    fn from(frame: Frame) -> Self {
        Self(ExpectedFrame::Frame(frame))
    }
}

impl From<&str> for Expected {
    fn from(text: &str) -> Self {
        Frame::from(text).into()
    }
}

impl From<&[u8]> for Expected {
    fn from(bytes: &[u8]) -> Self {
        Frame::from(bytes.to_vec()).into()
    }
}

impl From<Value> for Expected {
    fn from(value: Value) -> Self {
        Self(ExpectedFrame::Json(value))
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ExpectedFrame::Frame(frame) => frame.fmt(f),
            ExpectedFrame::Json(value) => value.fmt(f),
            ExpectedFrame::Matching(_) => f.write_str("a frame that matches"),
        }
    }
}

/// The frame that a client would receive.
pub(super) fn frame(output: &Outgoing) -> Option<Frame> {
    match output {
        Outgoing::Frame(frame) => Some(frame.clone()),
        Outgoing::Encoded(message) | Outgoing::Shared(message) => Frame::from_message(message),
        _ => None,
    }
}
