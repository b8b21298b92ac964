//! The layer on a real server, in seconds. The whole suite is in `conformance_long.rs`.

mod harness;
mod link;
mod scheme;
mod server;
mod smoke;
