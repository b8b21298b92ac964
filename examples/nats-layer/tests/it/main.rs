//! The layer on a real server, in seconds. The whole suite is in `conformance.rs`.

mod harness;
mod link;
mod scheme;
mod server;
mod smoke;
