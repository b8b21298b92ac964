//! The whole suite that every backend must pass, on real servers: `cargo test -p nats-layer --test conformance_long`.
//! `it` has a short selection.

#[path = "it/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the rest is used by the tests of Redis")]
#[path = "../../../channel-layer-redis/tests/support/process.rs"]
mod process;
#[path = "it/server.rs"]
mod server;

mod on_nats {
    channel_layer::conformance_tests!(
        super::harness::Nats::default(),
        skips: [directory, lose, reports_full, stores_messages]
    );
}
