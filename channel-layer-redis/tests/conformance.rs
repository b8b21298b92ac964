//! The suite that every backend must pass, on real servers: all of it on one host, and a part of it on other topologies.
//! `conformance_long` has the rest.

mod support;

use channel_layer::conformance::run_all;
use support::{
    harness::{Corner, Redis, one_host, smoke, two_hosts, without_faults},
    sentinel::Sentinels,
};

mod native_on_one_host {
    channel_layer::conformance_tests!(
        super::Redis::new(|| super::one_host("")),
        skips: [directory]
    );
}

mod core_on_one_host {
    channel_layer::conformance_tests!(
        super::Redis::new(|| super::one_host("?mode=core")),
        skips: [detects_loss, directory, selects, shares_capacity]
    );
}

mod pubsub_on_one_host {
    channel_layer::conformance_tests!(
        super::Redis::new(|| super::one_host("?mode=pubsub")),
        skips: [adds_foreign, detects_loss, directory, global_flush, reports_full, shares_work, stores_messages]
    );
}

#[test]
fn suite_part_on_two_hosts() {
    run_all(&smoke(), 4, || Redis::new(|| two_hosts(""))).check(&[]);
    run_all(&smoke(), 4, || Redis::new(|| two_hosts("?mode=core"))).check(&[]);
    run_all(&smoke(), 4, || Redis::new(|| two_hosts("?mode=pubsub"))).check(&[]);
}

#[test]
fn suite_part_encrypted() {
    run_all(&smoke(), 4, Redis::encrypted).check(&[]);
}

#[test]
fn suite_part_behind_sentinels() {
    let sentinels = Sentinels::start();
    let cases: Vec<_> = smoke().into_iter().filter(without_faults).collect();
    for mode in ["native", "core", "pubsub"] {
        let address = format!("{}?mode={mode}", sentinels.address());
        run_all(&cases, 4, || Corner::new(&address)).check(&[]);
    }
}
