//! The layer on a real server, in seconds. The whole suite is in `conformance_long.rs`.

mod harness;
mod link;
#[allow(dead_code, reason = "the rest is used by the tests of Redis")]
#[path = "../../../../channel-layer-redis/tests/support/process.rs"]
mod process;
mod scheme;
mod server;
mod smoke;
