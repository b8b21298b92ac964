//! Failures of Redis, each with its effect on messages, calls and consumers.

mod causes;
mod support;

use std::{sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt, Error, LayerEvent, Remote};
use channel_layer_redis::RedisLayer;
use support::{
    layer, next, number, numbered,
    oracle::observe,
    proxy::{Manners, Proxy},
    server::Server,
    until,
};
use tokio::time::{Instant, sleep, timeout};

async fn pair(address: &str) -> (Arc<RedisLayer>, Arc<RedisLayer>) {
    support::log();
    (Arc::new(layer(address).await), Arc::new(layer(address).await))
}

/// Blocks the thread, on a runtime with several.
fn pause(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_revives_every_channel() {
    let mut server = Server::start();
    let (one, two) = pair(&server.address()).await;
    let report = observe(&one, &two, async || {
        server.kill();
        sleep(Duration::from_millis(1500)).await;
        tokio::task::block_in_place(|| server.restart());
        Instant::now()
    })
    .await;
    report.check().check_gap();
    assert_eq!((two.stats().disconnects, two.stats().reconnects), (1, 1));
    assert!(two.stats().gap_milliseconds >= 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_outage_revives_channels() {
    let mut server = Server::start();
    let (one, two) = pair(&server.address()).await;
    let report = observe(&one, &two, async || {
        server.kill();
        sleep(Duration::from_secs(14)).await;
        tokio::task::block_in_place(|| server.restart());
        Instant::now()
    })
    .await;
    report.check().check_gap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_reconnect() {
    let server = Server::start();
    let (one, two) = pair(&server.address()).await;
    for victims in ["pubsub", "normal"] {
        let report = observe(&one, &two, async || {
            server.cli(&["client", "kill", "type", victims]);
            Instant::now()
        })
        .await;
        report.check().check_gap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freeze_sends_nothing_twice() {
    let server = Server::start();
    let (one, two) = pair(&server.address()).await;
    let report = observe(&one, &two, async || {
        server.freeze();
        sleep(Duration::from_secs(3)).await;
        server.thaw();
        Instant::now()
    })
    .await;
    report.check().check_gap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_freeze_loses_nothing() {
    let server = Server::start();
    let (one, two) = pair(&server.address()).await;
    let report = observe(&one, &two, async || {
        server.freeze();
        sleep(Duration::from_millis(300)).await;
        server.thaw();
        Instant::now()
    })
    .await;
    report.check().check_lossless();
    assert_eq!(two.stats().disconnects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_link_is_detected() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let one = Arc::new(layer(&server.address()).await);
    let two = Arc::new(layer(&proxy.address()).await);
    for seconds in [4.0, 0.7] {
        let report = observe(&one, &two, async || {
            proxy.set(Manners::Swallow);
            sleep(Duration::from_secs_f64(seconds)).await;
            proxy.set(Manners::Pass);
            Instant::now()
        })
        .await;
        report.check().check_gap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_publisher_fails_fast() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let one = Arc::new(layer(&proxy.address()).await);
    let two = Arc::new(layer(&server.address()).await);
    let report = observe(&one, &two, async || {
        proxy.set(Manners::Swallow);
        sleep(Duration::from_secs(4)).await;
        proxy.set(Manners::Pass);
        Instant::now()
    })
    .await;
    report.check();
    assert_eq!(two.stats().disconnects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_subscriber_is_detected() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let one = Arc::new(layer(&server.address()).await);
    let two = Arc::new(layer(&(proxy.address() + "?probe=1h")).await);
    let report = observe(&one, &two, async || {
        proxy.set(Manners::Deafen);
        sleep(Duration::from_secs(3)).await;
        proxy.set(Manners::Pass);
        Instant::now()
    })
    .await;
    report.check().check_gap();
}

#[tokio::test]
async fn losses_are_counted() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let one = layer(&server.address()).await;
    let two = layer(&(proxy.address() + "?probe=1h")).await;
    let mut mailbox = two.new_channel().await.unwrap();
    two.join("g", mailbox.channel()).await.unwrap();
    for n in 0..7 {
        proxy.set(if (1..6).contains(&n) { Manners::Mute } else { Manners::Pass });
        let _ = one.group_send_message("g", numbered(n)).await.unwrap();
        sleep(Duration::from_millis(50)).await; // otherwise the proxy may receive several at once
    }
    assert_eq!((number(&next(&mut mailbox).await), number(&next(&mut mailbox).await)), (0, 6));
    assert_eq!((two.stats().lost, two.stats().stale), (5, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe_detects_a_mute_server() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let two = Arc::new(layer(&(proxy.address() + "?probe=300ms")).await);
    let mut events = two.events();
    proxy.set(Manners::Mute);
    let event = timeout(support::PATIENCE, events.next()).await.expect("noticed");
    assert_eq!(event, Some(LayerEvent::Disconnected));
    proxy.set(Manners::Pass);
    let event = timeout(support::PATIENCE, events.next()).await.expect("cured");
    assert!(matches!(event, Some(LayerEvent::Reconnected { .. })));
    assert!(two.health().await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_subscriber_reconnects() {
    let server = Server::start();
    server.cli(&["config", "set", "client-output-buffer-limit", "pubsub 1mb 1mb 1"]);
    let proxy = Proxy::to(server.port).await;
    let one = Arc::new(layer(&server.address()).await);
    // Long deadlines, so that the server closes the connection first.
    let two = Arc::new(layer(&(proxy.address() + "?timeout=10s")).await);
    let report = observe(&one, &two, async || {
        proxy.set(Manners::Stall);
        let mut count = 0;
        let started = Instant::now();
        loop {
            count -= 1;
            let big = numbered(count).with("text", "x".repeat(200_000));
            let report = one.group_send_message("oracle-0", big).await.expect("the publisher works");
            if report.remote == Remote::Processes(0) {
                break; // disconnected
            }
            assert!(started.elapsed() < support::PATIENCE, "the server never cuts it off");
        }
        proxy.set(Manners::Pass);
        Instant::now()
    })
    .await;
    report.check().check_gap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_server_refuses_storage() {
    let server = Server::start();
    let (one, two) = pair(&server.address()).await;
    let jobs = "jobs".parse().unwrap();
    let report = observe(&one, &two, async || {
        server.cli(&["config", "set", "maxmemory", "1"]);
        let refused = one.send(&jobs, numbered(1)).await.unwrap_err();
        assert!(matches!(&refused, Error::Unavailable(_)), "{refused:?}");
        assert!(refused.to_string().contains("OOM"), "{refused}");
        server.cli(&["config", "set", "maxmemory", "0"]);
        Instant::now()
    })
    .await;
    report.check().check_lossless();
    one.send(&jobs, numbered(2)).await.unwrap();
    assert_eq!(number(&two.receive(&jobs).await.unwrap()), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_failure_spares_pubsub() {
    let server = Server::start_with(&["--save", "3600 1"]);
    let (one, two) = pair(&server.address()).await;
    let jobs = "jobs".parse().unwrap();
    let gone = server.dir().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let report = observe(&one, &two, async || {
        server.cli(&["config", "set", "dir", &gone.to_string_lossy()]);
        std::fs::remove_dir(&gone).unwrap();
        server.cli(&["set", "something", "to-save"]);
        server.cli(&["bgsave"]);
        until("the save has failed", || async {
            server.cli(&["info", "persistence"]).contains("rdb_last_bgsave_status:err")
        })
        .await;
        let refused = one.send(&jobs, numbered(1)).await.unwrap_err();
        assert!(refused.to_string().contains("MISCONF"), "{refused}");
        sleep(Duration::from_secs(2)).await; // several heartbeats, which are refused too
        server.cli(&["config", "set", "stop-writes-on-bgsave-error", "no"]);
        Instant::now()
    })
    .await;
    report.check().check_lossless();
    assert_eq!((one.stats().disconnects, two.stats().disconnects), (0, 0));
    one.send(&jobs, numbered(2)).await.unwrap();
}

#[tokio::test]
async fn outage_fails_remote_calls_fast() {
    let mut server = Server::start();
    let one = layer(&server.address()).await;
    let mut mailbox = one.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    server.kill();
    until("noticed", || async { !one.is_connected() }).await;

    let fast = Duration::from_millis(100);
    let jobs = "jobs".parse().unwrap();
    for _ in 0..10 {
        let calls = [
            timeout(fast, one.group_send_message("g", numbered(1))).await.expect("fast").map(drop),
            timeout(fast, one.send(&jobs, numbered(1))).await.expect("fast"),
            timeout(fast, one.health()).await.expect("fast").map(drop),
        ];
        for call in calls {
            assert!(matches!(&call, Err(error @ Error::Unavailable(_)) if error.is_transient()), "{call:?}");
        }
    }
    one.send(mailbox.channel(), numbered(2)).await.unwrap();
    assert_eq!(number(&next(&mut mailbox).await), 2, "a mailbox of this process needs no server");
    let local = channel_layer::Audience::from(support::group("g")).local_only();
    assert_eq!(one.group_send(&local, numbered(3)).await.unwrap().local.delivered, 1);
    drop(one.new_channel().await.unwrap());
    timeout(fast, one.join("h", mailbox.channel())).await.expect("fast").expect("wanted from now on");
}

/// A retry of a message that looks unsent would be a duplicate on other hosts.
#[tokio::test]
async fn partial_sends_are_not_unsent() {
    for mode in ["native", "pubsub"] {
        let (well, mut ill) = (Server::start(), Server::start());
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", well.port, ill.port);
        let one = layer(&format!("redis://{hosts}/0?mode={mode}")).await;
        let mut mailbox = one.new_channel().await.unwrap();
        let mut groups = [Vec::new(), Vec::new()];
        for n in 0..20 {
            let name = format!("g{n}");
            one.join(&name, mailbox.channel()).await.unwrap();
            let is_ill =
                ill.cli(&["pubsub", "channels", "*"]).lines().any(|channel| channel.ends_with(&name));
            groups[usize::from(is_ill)].push(support::group(&name));
        }
        ill.kill();
        until("noticed", || async { !one.is_connected() }).await;
        let both = channel_layer::Audience::from(&groups[0][0]).and(&groups[1][0]);
        let error = one.group_send(&both, numbered(1)).await.unwrap_err();
        assert!(!error.is_transient(), "{mode}: {error:?}");
        assert_eq!(number(&next(&mut mailbox).await), 1);
        let none = channel_layer::Audience::from(&groups[1][0]).and(&groups[1][1]);
        let error = one.group_send(&none, numbered(2)).await.unwrap_err();
        assert!(error.is_transient(), "{mode}: {error:?}");
    }
}

#[tokio::test]
async fn layer_starts_before_redis() {
    let mut server = Server::start();
    server.kill();
    let refused = RedisLayer::connect(&server.address()).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)));
    let one = RedisLayer::start(server.address().parse().unwrap());
    assert!(!one.is_connected());
    server.restart();
    until("connected", || async { one.is_connected() }).await;
    assert!(one.health().await.is_ok());
    assert_eq!(one.stats().reconnects, 0, "nothing was missed before the first connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resubscribes_to_all_groups() {
    const GROUPS: usize = 2500;
    let server = Server::start();
    let one = layer(&server.address()).await;
    let mailbox = one.new_channel().await.unwrap();
    let gone = one.new_channel().await.unwrap();
    for n in 0..GROUPS {
        one.join(format!("g{n}"), mailbox.channel()).await.unwrap();
    }
    one.join("empty", gone.channel()).await.unwrap();
    let channels = || server.cli(&["pubsub", "channels", "asgi:g:*"]).lines().count();
    assert_eq!(channels(), GROUPS + 1);
    drop(gone);
    let mut events = one.events();
    server.cli(&["client", "kill", "type", "pubsub"]);
    while !matches!(events.next().await, Some(LayerEvent::Reconnected { .. })) {}
    assert_eq!(channels(), GROUPS, "all of them by the time that this is said");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_go_on_after_an_outage() {
    let mut server = Server::start();
    let (one, two) = pair(&server.address()).await;
    let jobs = "jobs".parse().unwrap();
    one.send(&jobs, numbered(0)).await.unwrap();
    assert_eq!(number(&two.receive(&jobs).await.unwrap()), 0);
    let waiting = tokio::spawn({
        let (two, jobs) = (two.clone(), jobs.clone());
        async move { two.receive(&jobs).await }
    });
    server.kill();
    pause(0.5);
    server.restart();
    until("connected", || async { one.is_connected() && two.is_connected() }).await;
    one.send(&jobs, numbered(1)).await.unwrap();
    let received = timeout(support::PATIENCE, waiting).await.expect("in time").unwrap().unwrap();
    assert_eq!(number(&received), 1, "the one that waited all the time");
}

#[tokio::test]
async fn connections_are_named() {
    let server = Server::start();
    let _one = layer(&server.address()).await;
    let clients = server.cli(&["client", "list"]);
    for name in [":commands ", ":subscriber "] {
        assert!(clients.contains(name), "{clients}");
    }
}

/// Checks the keep-alive of the kernel, in addition to the heartbeat.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn kernel_watches_connections() {
    let server = Server::start();
    let _one = layer(&server.address()).await;
    let remote = format!(":{:04X}", server.port);
    let watched = || {
        let sockets = std::fs::read_to_string("/proc/self/net/tcp").expect("Linux has it");
        let sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // The remote address and the active timer: 02 is the keep-alive.
        sockets.filter(|fields| fields[2].ends_with(&remote) && fields[5].starts_with("02:")).count()
    };
    until("both are watched", || async { watched() == 2 }).await;
}
