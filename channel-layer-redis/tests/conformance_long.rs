//! The whole suite on further topologies and settings, which takes minutes: `cargo test --test conformance_long`.
//! `conformance` has a short selection.

mod support;

use channel_layer::conformance::{Case, cases, run_all};
use support::{
    harness::{Corner, Redis, two_hosts, without_faults},
    sentinel::Sentinels,
};

/// On several hosts, Django spreads the messages of a general channel over all of them, and its workers read one host until
/// a message arrives there. This mode must do the same, or the workers would never receive. There is no order between hosts
/// then, and the capacity of a channel applies per host.
const ONE_HOST_ONLY: [&str; 14] = [
    "a_cancelled_receive_loses_nothing",
    "cancelled_receives_lose_no_remote_message",
    "a_full_channel_refuses",
    "a_full_channel_refuses_a_peer",
    "a_long_run_arrives_on_a_name",
    "long_runs_arrive_on_remote_names",
    "named_messages_expire",
    "named_messages_expire_for_peers",
    "named_channels_are_fifo",
    "named_channels_are_fifo_for_peers",
    "named_channels_store",
    "named_channels_store_for_peers",
    "the_first_pattern_sets_capacity",
    "stored_messages_survive_an_outage",
];

/// The layer counts as disconnected as soon as one host is. Until the freeze of another host is detected, calls to it time
/// out.
const FOUND_BY_HOST: [&str; 1] = ["calls_fail_while_frozen"];

/// All cases that hold on several hosts.
fn on_several_hosts(but: &[&str]) -> Vec<Case> {
    let left_out: Vec<_> = FOUND_BY_HOST.iter().chain(but).collect();
    assert!(left_out.iter().all(|name| cases().iter().any(|case| case.name == **name)));
    cases().iter().filter(|case| !left_out.contains(&&case.name)).copied().collect()
}

#[test]
fn native_on_two_hosts() {
    let summary = run_all(&on_several_hosts(&[]), 4, || Redis::new(|| two_hosts("")));
    eprintln!("native on two hosts: {summary}");
    summary.check(&["directory"]);
}

#[test]
fn pubsub_on_two_hosts() {
    let summary = run_all(&on_several_hosts(&[]), 4, || Redis::new(|| two_hosts("?mode=pubsub")));
    eprintln!("pubsub on two hosts: {summary}");
    summary.check(&[
        "adds_foreign",
        "detects_loss",
        "directory",
        "global_flush",
        "reports_full",
        "shares_work",
        "stores_messages",
    ]);
}

mod core_encrypted {
    channel_layer::conformance_tests!(super::Redis::encrypted(), skips: [detects_loss, directory, selects, shares_capacity]);
}

#[test]
fn core_on_two_hosts() {
    let some = on_several_hosts(&ONE_HOST_ONLY);
    let summary = run_all(&some, 4, || Redis::new(|| two_hosts("?mode=core")));
    eprintln!("core on two hosts: {summary}");
    summary.check(&["detects_loss", "directory", "selects", "shares_capacity"]);
}

/// The servers of all cases, because they take seconds to start. Each case has its prefix.
#[test]
fn every_mode_behind_sentinels() {
    let sentinels = Sentinels::start();
    let some: Vec<Case> = cases().iter().filter(|case| without_faults(case)).copied().collect();
    // Named channels have no prefix in mode pubsub: its cases would receive each other's messages.
    for (mode, at_once, skips) in [
        ("native", 8, &["directory"][..]),
        ("core", 8, &["directory", "selects", "shares_capacity"]),
        (
            "pubsub",
            1,
            &["adds_foreign", "directory", "global_flush", "reports_full", "shares_work", "stores_messages"],
        ),
    ] {
        let address = format!("{}?mode={mode}", sentinels.address());
        let summary = run_all(&some, at_once, || Corner::new(&address));
        eprintln!("{mode} behind sentinels: {summary}");
        summary.check(skips);
    }
}
