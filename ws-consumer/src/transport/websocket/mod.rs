//! WebSocket (RFC 6455) on hyper and tungstenite.

mod codec;
mod connection;
mod handshake;
mod intake;
mod keepalive;
mod line;
mod upgrade;
mod watch;

pub(crate) use self::{
    handshake::{is_asked_for, refusal},
    upgrade::{Answer, Decision, answer, plain, poll_decision, upgrade},
};
