//! A real server.

pub(crate) mod server;
