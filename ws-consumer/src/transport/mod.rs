//! How frames get to clients and back. A transport holds a [`Wire`](crate::wire::Wire) and knows nothing of
//! groups or routes.

mod limits;
mod sockets;
pub(crate) mod websocket;

pub use self::{
    limits::Limits,
    sockets::{Drain, SocketStats, Sockets},
};
