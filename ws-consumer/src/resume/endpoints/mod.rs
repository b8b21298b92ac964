//! The requests by which clients open, carry and resume sessions.

pub(super) mod long_poll;
pub(super) mod sse;
pub(super) mod websocket;
