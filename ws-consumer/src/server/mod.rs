//! From protocols to a tower service, and from a listener to connections.

mod access;
mod body;
mod descriptors;
mod health;
mod hooks;
mod listen;
mod permits;
mod protocols;
mod serve;
mod service;
#[cfg(test)]
mod tests;

pub use self::{
    descriptors::accept,
    listen::{listen, listeners},
    protocols::{NotFound, Protocols},
    serve::{Serve, serve, serve_connection, serve_connection_from},
    service::SocketService,
};
