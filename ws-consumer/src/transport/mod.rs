//! How frames get to clients and back. A transport holds a [`Wire`](crate::wire::Wire) and knows nothing of
//! groups or routes.

pub(crate) mod drain;
pub(crate) mod headers;
pub(crate) mod http;
pub(crate) mod limits;
pub(crate) mod pace;
pub(crate) mod sockets;
pub(crate) mod websocket;

pub use self::{
    drain::Drain,
    http::ReplyBody,
    limits::Limits,
    sockets::{SocketStats, Sockets},
};
