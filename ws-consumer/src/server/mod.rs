//! From protocols to a tower service, and from a listener to connections.

mod hooks;
mod protocols;
mod serve;
mod service;

pub use self::{
    protocols::{NotFound, Protocols},
    serve::{Serve, serve, serve_connection},
    service::SocketService,
};
