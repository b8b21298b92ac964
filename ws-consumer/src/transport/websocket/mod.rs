//! WebSocket (RFC 6455) on hyper and tungstenite.

mod codec;
mod connection;
mod handshake;
mod keepalive;
mod upgrade;

pub(crate) use self::{
    handshake::refusal,
    upgrade::{Answer, answer, plain, upgrade},
};
