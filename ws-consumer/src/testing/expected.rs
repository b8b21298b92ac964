//! What a test waits for.

use std::fmt;

use serde_json::Value;

use crate::frame::Frame;

/// A frame that a test expects: text, bytes, JSON (compared as values, not as text), or whatever a closure says.
pub struct Expected(Kind);

enum Kind {
    Frame(Frame),
    Json(Value),
    Matching(Box<dyn Fn(&Frame) -> bool + Send>),
}

impl Expected {
    /// A frame for which `is_it` holds.
    pub fn matching(is_it: impl Fn(&Frame) -> bool + Send + 'static) -> Self {
        Self(Kind::Matching(Box::new(is_it)))
    }

    pub(super) fn is(&self, frame: &Frame) -> bool {
        match &self.0 {
            Kind::Frame(expected) => expected == frame,
            Kind::Json(expected) => frame.json::<Value>().is_ok_and(|value| value == *expected),
            Kind::Matching(is_it) => is_it(frame),
        }
    }
}

impl From<Frame> for Expected {
    fn from(frame: Frame) -> Self {
        Self(Kind::Frame(frame))
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
        Self(Kind::Json(value))
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Frame(frame) => frame.fmt(f),
            Kind::Json(value) => value.fmt(f),
            Kind::Matching(_) => f.write_str("a frame that matches"),
        }
    }
}
