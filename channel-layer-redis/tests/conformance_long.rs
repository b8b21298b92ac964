//! The whole suite on further topologies and settings, for minutes: `cargo test --test conformance_long`. `conformance`
//! has a part of it for every day.

mod support;

use channel_layer::conformance::{Case, cases, run_all};
use support::{
    harness::{Corner, Redis, two_hosts, without_faults},
    sentinel::Sentinels,
};

/// On several hosts, Django spreads the messages of a general channel over all of them, and its workers look at one
/// host until a message comes in there. So must this mode, or the workers would wait for ever. Then there is no order
/// between hosts, and each holds a channel's capacity.
const ONE_HOST_ONLY: [&str; 13] = [
    "a_cancelled_receiver_loses_nothing",
    "a_cancelled_receiver_loses_nothing_of_a_peer",
    "a_full_channel_refuses",
    "a_full_channel_refuses_a_peer",
    "a_long_run_arrives_on_a_named_channel",
    "a_long_run_arrives_on_a_named_channel_of_a_peer",
    "a_named_channel_drops_what_expired",
    "a_named_channel_drops_what_expired_for_a_peer",
    "a_named_channel_is_first_in_first_out",
    "a_named_channel_is_first_in_first_out_for_a_peer",
    "a_named_channel_keeps_messages",
    "a_named_channel_keeps_messages_for_a_peer",
    "capacity_goes_by_the_first_pattern",
];

mod native_on_two_hosts {
    channel_layer::conformance_tests!(
        super::Redis::new(|| super::two_hosts("")),
        skips: [directory]
    );
}

mod pubsub_on_two_hosts {
    channel_layer::conformance_tests!(
        super::Redis::new(|| super::two_hosts("?mode=pubsub")),
        skips: [adds_foreign, detects_loss, directory, global_flush, reports_full, shares_work, stores_messages]
    );
}

mod core_encrypted {
    channel_layer::conformance_tests!(super::Redis::encrypted(), skips: [detects_loss, directory, shares_capacity]);
}

#[test]
fn core_on_two_hosts() {
    let all = cases();
    assert!(ONE_HOST_ONLY.iter().all(|name| all.iter().any(|case| case.name == *name)));
    let some: Vec<Case> = all.iter().filter(|case| !ONE_HOST_ONLY.contains(&case.name)).copied().collect();
    let summary = run_all(&some, 8, || Redis::new(|| two_hosts("?mode=core")));
    eprintln!("core on two hosts: {summary}");
    summary.check(&["detects_loss", "directory", "shares_capacity"]);
}

/// One set of servers for all cases, because it takes seconds to start; each case has a prefix of its own.
#[test]
fn every_mode_behind_sentinels() {
    let sentinels = Sentinels::start();
    let some: Vec<Case> = cases().iter().filter(|case| without_faults(case)).copied().collect();
    for (mode, skips) in [
        ("native", &["directory"][..]),
        ("core", &["directory", "shares_capacity"]),
        (
            "pubsub",
            &["adds_foreign", "directory", "global_flush", "reports_full", "shares_work", "stores_messages"],
        ),
    ] {
        let address = format!("{}?mode={mode}", sentinels.address());
        let summary = run_all(&some, 8, || Corner::of(&address));
        eprintln!("{mode} behind sentinels: {summary}");
        summary.check(skips);
    }
}
