//! The suite on the modes that Django understands, on real servers.

mod support;

use support::{harness::Redis, server::Server};

/// One server for two modes of mount: two servers stand for two hosts.
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
    channel_layer::conformance_tests!(super::Redis::new(|| super::one_host("?mode=core")));
}

mod core_on_two_hosts {
    channel_layer::conformance_tests!(super::Redis::new(|| super::two_hosts("?mode=core")));
}

mod core_encrypted {
    channel_layer::conformance_tests!(super::Redis::new(|| {
        super::one_host("?mode=core&symmetric_encryption_keys=secret&random_prefix_length=0")
    }));
}

mod pubsub_on_one_host {
    channel_layer::conformance_tests!(super::Redis::new(|| super::one_host("?mode=pubsub")));
}

mod pubsub_on_two_hosts {
    channel_layer::conformance_tests!(super::Redis::new(|| super::two_hosts("?mode=pubsub")));
}
