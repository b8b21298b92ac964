//! Groups that are joined, left and cancelled at awkward moments, and layers that are closed then.

mod support;

use std::{
    io::{self, Write},
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName};
use channel_layer_redis::RedisLayer;
use futures_util::FutureExt;
use support::{group, layer, next, number, numbered, server::Server, until};
use tokio::time::sleep;

#[tokio::test]
async fn cancelled_join_leaves_nothing() {
    let server = Server::start();
    for linger in ["0", "50ms"] {
        let one = layer(&format!("{}?linger={linger}", server.address())).await;
        let mut mailbox = one.new_channel().await.unwrap();
        for n in 0..20 {
            // Polled once, so that it has begun, then dropped.
            assert!(one.join(format!("given-up-{n}"), mailbox.channel()).now_or_never().is_none());
        }
        one.join("g", mailbox.channel()).await.unwrap();
        assert_eq!(one.group_send_message("g", numbered(1)).await.unwrap().local.delivered, 1);
        assert_eq!(number(&next(&mut mailbox).await), 1);
        let channels = || server.cli(&["pubsub", "channels", "asgi:g:*"]);
        until("the others are left", || async { channels() == "asgi:g:g" }).await;
    }
}

#[tokio::test]
async fn rejoins_without_a_linger() {
    let server = Server::start();
    let one = layer(&(server.address() + "?linger=0")).await;
    let mut mailbox = one.new_channel().await.unwrap();
    for n in 0..500 {
        one.join("g", mailbox.channel()).await.unwrap();
        assert_eq!(one.group_send_message("g", numbered(n)).await.unwrap().local.delivered, 1);
        assert_eq!(number(&next(&mut mailbox).await), n);
        one.leave("g", mailbox.channel()).await.unwrap();
        if n % 2 == 0 {
            tokio::task::yield_now().await; // the subscription may end meanwhile
        }
    }
}

/// A forwarder without work ends at an arbitrary time.
#[tokio::test]
async fn join_while_forwarder_ends() {
    let server = Server::start();
    let one = layer(&(server.address() + "?group_expiry=40ms")).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    for n in 0..500 {
        let name = format!("g{n}");
        one.join(&name, &jobs).await.unwrap();
        assert_eq!(one.hub().member_count(&group(&name)), 1, "{name}");
        one.leave(&name, &jobs).await.unwrap();
    }
}

/// A message of a process to all processes also reaches itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_channel_rejoins_at_once() {
    let server = Server::start();
    let one = layer(&server.address()).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    for n in 0..1000 {
        one.join("g", &jobs).await.unwrap();
        one.leave("g", &jobs).await.unwrap();
        one.join("g", &jobs).await.unwrap();
        one.health().await.unwrap(); // takes the same way, so that all before it have come back
        assert_eq!(one.hub().member_count(&group("g")), 1, "{n}");
    }
}

/// Connections break at any moment of a call. The mailbox becomes a member nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_survive_broken_links() {
    let mut server = Server::start();
    for mode in ["core", "native", "pubsub"] {
        let one = layer(&format!("{}?mode={mode}&prefix={mode}", server.address())).await;
        let state = one.events().state();
        let mut members = Vec::new();
        for n in 0..60 {
            match n {
                20 => server.kill(),
                40 => tokio::task::block_in_place(|| server.restart()),
                n if n % 4 == 0 && !(20..40).contains(&n) => {
                    let victims = if n % 8 == 0 { "pubsub" } else { "normal" };
                    server.cli(&["client", "kill", "type", victims]);
                }
                _ => {}
            }
            let (stays, leaves) = (one.new_channel().await.unwrap(), one.new_channel().await.unwrap());
            for mailbox in [&stays, &leaves] {
                one.join("all", mailbox.channel()).await.expect(mode);
                one.join(format!("own-{n}"), mailbox.channel()).await.expect(mode);
            }
            one.leave("all", leaves.channel()).await.expect(mode);
            one.leave(format!("own-{n}"), leaves.channel()).await.expect(mode);
            members.push((stays, leaves));
        }
        until("it is back", || async { !state.is_away() && one.health().await.is_ok() }).await;
        let sent = one.group_send_message("all", numbered(-1)).await.unwrap();
        assert_eq!(sent.local.delivered, 60, "{mode}");
        for (n, (stays, leaves)) in members.iter_mut().enumerate() {
            let _ = one.group_send_message(format!("own-{n}"), numbered(n as i64)).await.unwrap();
            assert_eq!((number(&next(stays).await), number(&next(stays).await)), (-1, n as i64), "{mode}");
            assert!(leaves.try_recv().is_none(), "{mode}");
        }
    }
}

/// Permissions are removed and granted again at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forbidden_group_is_isolated() {
    let server = Server::start();
    let acl = |channels: &[&str]| {
        let user = ["acl", "setuser", "app", "on", ">p", "+@all", "allkeys", "resetchannels"];
        assert_eq!(server.cli(&[&user, channels].concat()), "OK");
    };
    acl(&["allchannels"]);
    let one = layer(&server.address().replace("//", "//app:p@")).await;
    let mut mailboxes = Vec::new();
    for n in 0..20 {
        let mailbox = one.new_channel().await.unwrap();
        one.join(format!("g{n}"), mailbox.channel()).await.unwrap();
        mailboxes.push(mailbox);
    }
    let reaches = async |n: usize| {
        let report = one.group_send_message(format!("g{n}"), numbered(n as i64)).await;
        report.is_ok_and(|report| report.local.delivered == 1)
    };
    acl(&["&asgi:n:*", "&asgi:c:*", "&asgi:g:g1*"]); // Redis closes connections with subscriptions beyond these
    until("a new session", || async { one.stats().reconnects == 1 }).await;
    for n in [1, 10, 19] {
        assert!(reaches(n).await);
        assert_eq!(number(&next(&mut mailboxes[n]).await), n as i64);
    }
    assert!(!reaches(2).await);
    assert_eq!(one.stats().subscribe_refused, 9);
    acl(&["allchannels"]);
    server.cli(&["client", "kill", "type", "pubsub"]);
    until("another session", || async { one.stats().reconnects == 2 }).await;
    assert!(reaches(2).await);
    assert_eq!(number(&next(&mut mailboxes[2]).await), 2);
}

/// A log that blocks when a layer reports its connection, so that it can be closed meanwhile.
struct SlowLog;

impl Write for SlowLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if String::from_utf8_lossy(line).contains("connected") {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_while_connecting() {
    tracing_subscriber::fmt().with_writer(|| SlowLog).init();
    let server = Server::start();
    let mut closed = Vec::new();
    for n in 0..30 {
        let one = RedisLayer::start(server.address().parse().unwrap());
        sleep(Duration::from_millis(n % 15)).await;
        one.close().await.unwrap();
        closed.push(one);
    }
    until("all are gone", || async { server.cli(&["client", "list"]).lines().count() == 1 }).await;
    assert!(closed.iter().all(|one| !one.is_connected()));
}
