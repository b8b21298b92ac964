//! The tower service of a set of protocols, and the server that runs it on listeners.

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
    access::LoggedBody,
    descriptors::accept,
    listen::{listen, listeners},
    protocols::{NotFound, Protocols},
    serve::{IntoSocketService, Serve, serve, serve_connection, serve_connection_from},
    service::SocketService,
};
