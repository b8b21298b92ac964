//! WebSocket (RFC 6455) on hyper and tungstenite.

mod framing;
mod handshake;
mod keepalive;
mod task;
mod upgrade;

pub(crate) use self::{
    handshake::{is_asked_for, refusal},
    upgrade::{WebSocketRequest, poll_decision},
};
