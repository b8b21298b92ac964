//! How frames get to clients and back. A transport holds a [`Wire`](crate::wire::Wire) and knows nothing of
//! groups or routes.

mod drain;
pub(crate) mod headers;
pub(crate) mod http;
mod limits;
mod pace;
pub(crate) mod session;
mod sockets;
pub(crate) mod websocket;

pub use self::{
    drain::Drain,
    http::ReplyBody,
    limits::Limits,
    session::Transports,
    sockets::{SocketStats, Sockets},
};
