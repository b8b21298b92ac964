//! Repeated faults, for minutes. Run by `cargo test -p channel-layer-redis --test long`.

mod support;

use std::{sync::Arc, time::Duration};

use support::{
    layer,
    oracle::observe,
    proxy::{Manners, Proxy},
    server::Server,
};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

const ROUNDS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_survive_repeated_faults() {
    support::log();
    let mut server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let one = Arc::new(layer(&server.address()).await);
    let two = Arc::new(layer(&proxy.address()).await);
    for round in 0..ROUNDS {
        let fault = fastrand::usize(..6);
        let lasts = Duration::from_millis(fastrand::u64(100..4000));
        eprintln!("round {round}: fault {fault} for {lasts:?}");
        let report = observe(&one, &two, async || {
            match fault {
                0 => {
                    server.kill();
                    sleep(lasts).await;
                    block_in_place(|| server.restart());
                }
                1 => drop(server.cli(&["client", "kill", "type", "pubsub"])),
                2 => drop(server.cli(&["client", "kill", "type", "normal"])),
                3 => {
                    server.freeze();
                    sleep(lasts).await;
                    server.thaw();
                }
                4 => misbehave(&proxy, Manners::Swallow, lasts).await,
                _ => misbehave(&proxy, Manners::Refuse, lasts).await,
            }
            Instant::now()
        })
        .await;
        report.check();
    }
}

async fn misbehave(proxy: &Proxy, manners: Manners, lasts: Duration) {
    proxy.set(manners);
    sleep(lasts).await;
    proxy.set(Manners::Pass);
}
