//! Failures of Redis, in the modes that Django understands: the guarantees equal those of the native mode.

mod support;

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use channel_layer::{Audience, ChannelLayer, ChannelLayerExt, Error, LayerEvent};
use channel_layer_redis::RedisLayer;
use futures_util::{FutureExt, future::try_join_all};
use support::{
    group, layer, next, number, numbered,
    oracle::{Report, observe},
    proxy::{Manners, Proxy},
    sentinel::Sentinels,
    server::Server,
    until,
};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep, timeout},
};

const MODES: [&str; 2] = ["core", "pubsub"];

async fn pair(address: &str, mode: &str) -> (Arc<RedisLayer>, Arc<RedisLayer>) {
    support::log();
    let separator = if address.contains('?') { '&' } else { '?' };
    let address = format!("{address}{separator}mode={mode}&capacity=10000");
    (Arc::new(layer(&address).await), Arc::new(layer(&address).await))
}

fn check(report: &Report) {
    report.check().check_gap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_revives_every_channel() {
    for mode in MODES {
        let mut server = Server::start();
        let (one, two) = pair(&server.address(), mode).await;
        let report = observe(&one, &two, async || {
            server.kill();
            sleep(Duration::from_millis(1500)).await;
            block_in_place(|| server.restart());
            Instant::now()
        });
        check(&report.await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_reconnect() {
    for mode in MODES {
        let server = Server::start();
        let (one, two) = pair(&server.address(), mode).await;
        for victims in ["pubsub", "normal"] {
            let report = observe(&one, &two, async || {
                server.cli(&["client", "kill", "type", victims]);
                Instant::now()
            });
            check(&report.await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freeze_sends_nothing_twice() {
    for mode in MODES {
        let server = Server::start();
        let (one, two) = pair(&server.address(), mode).await;
        let report = observe(&one, &two, async || {
            server.freeze();
            sleep(Duration::from_secs(3)).await;
            server.thaw();
            Instant::now()
        });
        check(&report.await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_link_is_noticed() {
    for mode in MODES {
        let server = Server::start();
        let proxy = Proxy::to(server.port).await;
        let (one, _) = pair(&server.address(), mode).await;
        let (two, _) = pair(&proxy.address(), mode).await;
        let report = observe(&one, &two, async || {
            proxy.set(Manners::Swallow);
            sleep(Duration::from_secs(4)).await;
            proxy.set(Manners::Pass);
            Instant::now()
        });
        check(&report.await);
    }
}

/// A Redis that has returned empty and refuses writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_memberships_are_retried() {
    let server = Server::start();
    let (one, _) = pair(&server.address(), "core").await;
    let mailbox = one.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    server.cli(&["flushall"]);
    server.cli(&["config", "set", "maxmemory", "1"]);
    server.cli(&["client", "kill", "type", "pubsub"]);
    until("reconnected", || async { one.stats().reconnects == 1 }).await;
    sleep(Duration::from_millis(500)).await; // it has tried
    assert_eq!(server.cli(&["zcard", "asgi:group:g"]), "0");
    server.cli(&["config", "set", "maxmemory", "0"]);
    until("a member again", || async { server.cli(&["zcard", "asgi:group:g"]) == "1" }).await;
}

/// Commands that delete the groups of a layer in mode `core` while its connections work. One command per case: a first loss
/// could be repaired before a second command.
const LOSSES: [&[&str]; 5] = [
    &["flushall"],
    &["flushdb", "async"],
    &["del", "asgi:group:g", "asgi:group:h"],
    &[
        "eval",
        "redis.call('UNLINK', KEYS[1]) return redis.call('RENAME', KEYS[2], KEYS[3])",
        "3",
        "asgi:group:g",
        "asgi:group:h",
        "away",
    ],
    &["eval", "return redis.call('DEL', KEYS[1], KEYS[2])", "2", "asgi:group:g", "asgi:group:h"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_groups_are_restored() {
    let server = Server::start();
    let (one, two) = pair(&format!("{}?probe=100ms", server.address()), "core").await;
    let (mut lone, mut other) = (one.new_channel().await.unwrap(), one.new_channel().await.unwrap());
    one.join("g", lone.channel()).await.unwrap();
    one.join("h", lone.channel()).await.unwrap();
    one.join("h", other.channel()).await.unwrap();
    let state = one.events().state();
    for (n, loss) in (1..).zip(LOSSES) {
        let mut events = one.events();
        server.cli(loss);
        let event = timeout(support::PATIENCE, events.next()).await.expect("a gap is reported");
        assert!(matches!(event, Some(LayerEvent::Reconnected { .. })), "{loss:?}: {event:?}");
        assert!(!state.is_away());
        let _ = two.group_send_message("g", numbered(n)).await.unwrap();
        let _ = two.group_send_message("h", numbered(-n)).await.unwrap();
        let mut heard = [number(&next(&mut lone).await), number(&next(&mut lone).await)];
        heard.sort_unstable();
        assert_eq!((heard, number(&next(&mut other).await)), ([-n, n], -n));
    }
    assert!(one.stats().groups_lost >= 10 && one.stats().disconnects == 0);
    assert_eq!(two.stats().groups_lost, 0, "it has no members");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evicted_groups_are_made_again() {
    let server = Server::start();
    let (one, two) = pair(&format!("{}?probe=100ms", server.address()), "core").await;
    let mut mailbox = one.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    let mut events = one.events();
    for (name, value) in [("maxmemory-policy", "allkeys-random"), ("maxmemory", "1"), ("maxmemory", "0")] {
        server.cli(&["config", "set", name, value]);
        server.cli(&["set", "something", "else"]); // every write makes room
    }
    let event = timeout(support::PATIENCE, events.next()).await.expect("a gap is reported");
    assert!(matches!(event, Some(LayerEvent::Reconnected { .. })));
    // Without memory, restored groups may have been evicted again.
    let again = async {
        loop {
            let _ = two.group_send_message("g", numbered(1)).await.unwrap();
            if let Ok(message) = timeout(Duration::from_millis(200), mailbox.recv()).await {
                break number(&message);
            }
        }
    };
    assert_eq!(timeout(support::PATIENCE, again).await, Ok(1));
}

/// In Redis, a removed membership looks like a lost one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_removal_is_final() {
    let server = Server::start();
    let (one, two) = pair(&format!("{}?probe=50ms", server.address()), "core").await;
    let mut events = one.events();
    let (mut lone, mut kept) = (one.new_channel().await.unwrap(), one.new_channel().await.unwrap());
    one.join("g", lone.channel()).await.unwrap();
    one.join("h", lone.channel()).await.unwrap();
    one.join("h", kept.channel()).await.unwrap();
    two.leave("g", lone.channel()).await.unwrap();
    server.cli(&["zrem", "asgi:group:h", lone.channel().as_str()]); // as Django would
    for n in 0..4 {
        let _ = two.group_send_message("g", numbered(n)).await.unwrap();
        let _ = one.group_send_message("g", numbered(n)).await.unwrap(); // it finds no member of its process
        let _ = two.group_send_message("h", numbered(n)).await.unwrap();
        assert_eq!(number(&next(&mut kept).await), n);
        sleep(Duration::from_millis(60)).await;
    }
    assert!(support::is_silent(&mut lone).await && events.next().now_or_never().is_none());
    assert_eq!(one.stats().groups_lost, 0);
}

/// In this mode, general channels have no prefix, by which permissions are given.
#[tokio::test]
async fn forbidden_channel_is_isolated() {
    let server = Server::start();
    let rule = ["acl", "setuser", "app", "on", ">pw", "~*", "&asgi*", "+@all"];
    assert_eq!(server.cli(&rule), "OK");
    let one = layer(&format!("redis://app:pw@127.0.0.1:{}/0?mode=pubsub", server.port)).await;
    let mailbox = one.new_channel().await.unwrap();
    let jobs = "jobs".parse().unwrap();
    for n in 0..10 {
        let groups = (0..5).map(|at| one.join(format!("g{n}-{at}"), mailbox.channel()));
        let (joined, received) = tokio::join!(try_join_all(groups), one.receive(&jobs));
        joined.unwrap();
        assert!(matches!(received, Err(Error::Backend(_))), "{received:?}");
    }
}

#[tokio::test]
async fn leaving_during_restoration_holds() {
    let server = Server::start();
    let (one, _) = pair(&server.address(), "core").await;
    let mailbox = one.new_channel().await.unwrap();
    let groups: Vec<_> = (0..1200).map(|n| format!("g{n}")).collect();
    try_join_all(groups.iter().map(|group| one.join(group, mailbox.channel()))).await.unwrap();
    let mut events = one.events();
    server.cli(&["client", "kill", "type", "pubsub"]);
    while !matches!(events.next().await, Some(LayerEvent::Reconnected { .. })) {}
    try_join_all(groups.iter().map(|group| one.leave(group, mailbox.channel()))).await.unwrap();
    until("nobody is a member", || async { server.cli(&["keys", "asgi:group:*"]).is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_replaced() {
    for mode in MODES {
        let mut sentinels = block_in_place(Sentinels::start);
        let (one, two) = pair(&sentinels.address(), mode).await;
        let report = observe(&one, &two, async || {
            block_in_place(|| {
                sentinels.servers[0].kill();
                sentinels.wait_for_master(1);
            });
            Instant::now()
        });
        check(&report.await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_keep_order_without_scripts() {
    let servers = [Server::start(), Server::start()];
    let address = format!("redis://127.0.0.1:{},127.0.0.1:{}/0", servers[0].port, servers[1].port);
    for mode in MODES {
        let (one, two) = pair(&address, mode).await;
        let (g, h) = (group("g"), group("h"));
        let mut members = Vec::new();
        for _ in 0..4 {
            let mailbox = two.new_channel().await.expect("a mailbox");
            two.group_add(&g, mailbox.channel()).await.expect("it joins");
            members.push(mailbox);
        }
        let (mut tasks, mut kept) = (Vec::new(), Vec::new());
        for n in 0..400 {
            if n % 50 == 0 {
                block_in_place(|| servers[n / 50 % 2].cli(&["script", "flush"]));
            }
            let (one, n) = (one.clone(), i64::try_from(n).expect("a small number"));
            let to = if n % 5 == 0 { Audience::from(h.clone()).and(g.clone()) } else { g.clone().into() };
            let mut call = Box::pin(async move { one.group_send(&to, numbered(n)).await });
            let begun = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            if n % 7 == 3 {
                continue; // cancelled, sent or not
            }
            kept.push(n);
            match begun {
                Poll::Ready(sent) => drop(sent.expect("it is sent")),
                Poll::Pending => tasks.push(tokio::spawn(call)),
            }
        }
        for sent in try_join_all(tasks).await.expect("no task panics") {
            let _ = sent.expect("it is sent");
        }
        for mailbox in &mut members {
            let mut heard = Vec::new();
            while heard.last() != kept.last() {
                heard.push(number(&next(mailbox).await));
            }
            assert!(heard.is_sorted(), "{mode}: {heard:?}");
            heard.retain(|n| n % 7 != 3);
            assert_eq!(heard, kept, "{mode}");
        }
    }
}
