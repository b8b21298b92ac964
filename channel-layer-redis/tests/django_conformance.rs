//! The suite on the modes that Django understands, on real servers.

mod support;

use std::thread;

use channel_layer::conformance;
use support::{
    harness::{Corner, Redis},
    sentinel::Sentinels,
    server::Server,
};

fn one_host(options: &str) -> (Server, String) {
    let server = Server::start();
    let address = server.address() + options;
    (server, address)
}

fn two_hosts(options: &str) -> ([Server; 2], String) {
    let servers = [Server::start(), Server::start()];
    let [one, two] = &servers;
    let address = format!("redis://127.0.0.1:{},127.0.0.1:{}/0{options}", one.port, two.port);
    (servers, address)
}

mod core_on_one_host {
    channel_layer::conformance_tests!(super::Redis::that_can_be_lost(|| super::one_host("?mode=core")));
}

/// On several hosts, Django spreads the messages of a general channel over all of them, and its workers look at one
/// host until something comes in there. So must we, or they would wait for ever; then there is no order between
/// hosts, and each holds a channel's capacity.
const ONE_HOST_ONLY: [&str; 7] = [
    "a_cancelled_receiver_loses_nothing",
    "a_full_channel_refuses",
    "a_named_channel_is_first_in_first_out",
    "a_named_channel_keeps_messages",
    "capacity_goes_by_the_first_pattern",
    "capacity_holds_across_processes",
    "some_are_read_and_some_expire",
];

#[test]
fn core_on_two_hosts() {
    assert!(ONE_HOST_ONLY.iter().all(|name| conformance::case(name).is_some()));
    let cases: Vec<_> =
        conformance::cases().iter().filter(|case| !ONE_HOST_ONLY.contains(&case.name)).collect();
    for cases in cases.chunks(8) {
        thread::scope(|scope| {
            for case in cases {
                scope.spawn(|| conformance::run(&Redis::new(|| two_hosts("?mode=core")), case));
            }
        });
    }
}

/// One set of servers for all cases, because it takes seconds to start; each has a prefix of its own.
#[test]
fn both_modes_behind_sentinels() {
    let sentinels = Sentinels::start();
    for mode in ["core", "pubsub"] {
        let address = &format!("{}?mode={mode}", sentinels.address());
        for cases in conformance::cases().chunks(8) {
            thread::scope(|scope| {
                for case in cases {
                    scope.spawn(|| conformance::run(&Corner::of(address), case));
                }
            });
        }
    }
}

mod core_encrypted {
    channel_layer::conformance_tests!(super::Redis::new(|| {
        super::one_host("?mode=core&symmetric_encryption_keys=secret&random_prefix_length=0")
    }));
}

mod pubsub_on_one_host {
    channel_layer::conformance_tests!(super::Redis::that_can_be_lost(|| super::one_host("?mode=pubsub")));
}

mod pubsub_on_two_hosts {
    channel_layer::conformance_tests!(super::Redis::new(|| super::two_hosts("?mode=pubsub")));
}
