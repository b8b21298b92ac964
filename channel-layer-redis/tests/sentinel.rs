//! Behind sentinels: the suite, and failovers.

mod support;

use std::{sync::Arc, thread, time::Duration};

use channel_layer::{Error, conformance};
use channel_layer_redis::RedisLayer;
use support::{harness::Corner, layer, oracle::observe, sentinel::Sentinels};
use tokio::{task::block_in_place, time::Instant};

/// One set of servers for all cases, because it takes seconds to start; each has a prefix of its own.
#[test]
fn the_suite_holds_behind_sentinels() {
    let sentinels = Sentinels::start();
    let address = &sentinels.address();
    for cases in conformance::cases().chunks(8) {
        thread::scope(|scope| {
            for case in cases {
                scope.spawn(|| {
                    eprintln!("{}", case.name);
                    let _ = conformance::run(&Corner::of(address), case);
                });
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_failover_is_followed() {
    support::log();
    let sentinels = block_in_place(Sentinels::start);
    let one = Arc::new(layer(&sentinels.address()).await);
    let two = Arc::new(layer(&sentinels.address()).await);
    let report = observe(&one, &two, async || {
        block_in_place(|| {
            sentinels.fail_over();
            sentinels.wait_for_master(1);
        });
        Instant::now()
    })
    .await;
    report.check().check_gap();
    assert_eq!(
        sentinels.servers[0].cli(&["pubsub", "channels", "asgi:*"]),
        "",
        "nobody stays on the old master"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_replaced() {
    support::log();
    let mut sentinels = block_in_place(Sentinels::start);
    let one = Arc::new(layer(&sentinels.address()).await);
    let two = Arc::new(layer(&sentinels.address()).await);
    let report = observe(&one, &two, async || {
        block_in_place(|| {
            sentinels.servers[0].kill();
            sentinels.wait_for_master(1);
        });
        Instant::now()
    })
    .await;
    report.check().check_gap();
    assert_eq!(sentinels.master(), sentinels.servers[1].port);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_demoted_behind_our_back_is_left() {
    let sentinels = block_in_place(Sentinels::start);
    // Pinned to one address, as when a DNS name stands for the master: only its role tells.
    let one = layer(&sentinels.servers[0].address()).await;
    let mut events = channel_layer::ChannelLayer::events(&one);
    block_in_place(|| {
        sentinels.fail_over();
        sentinels.wait_for_master(1);
    });
    let event = tokio::time::timeout(Duration::from_secs(60), events.next()).await.expect("noticed");
    assert_eq!(event, Some(channel_layer::LayerEvent::Disconnected));
    support::until("it is not used as a replica", || async { !one.is_connected() }).await;
}

#[tokio::test]
async fn an_unknown_service_and_dead_sentinels_are_told_apart_from_redis() {
    let sentinels = Sentinels::start();
    let unknown = sentinels.address().replace("mymaster", "other");
    for address in [unknown.as_str(), "redis+sentinel://127.0.0.1:1/mymaster"] {
        let error = RedisLayer::connect(address).await.unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(matches!(error, Error::Unavailable(_)) && cause.contains("sentinel"), "{cause}");
    }
}
