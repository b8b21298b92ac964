//! The suite that every backend must pass, on real servers.

mod support;

use support::{harness::Redis, server::Server};

mod on_one_host {
    channel_layer::conformance_tests!(super::Redis::that_can_be_lost(|| {
        let server = super::Server::start();
        let address = server.address();
        (server, address)
    }));
}

mod on_two_hosts {
    channel_layer::conformance_tests!(super::Redis::new(|| {
        let servers = [super::Server::start(), super::Server::start()];
        let [one, two] = &servers;
        let address = format!("redis://127.0.0.1:{},127.0.0.1:{}/0", one.port, two.port);
        (servers, address)
    }));
}
