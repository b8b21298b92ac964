//! Subscriptions follow the members without a lost message.

use std::{sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName, Remote};
use futures_util::FutureExt;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    pair,
    support::{self, layer, next, number, numbered, server::Server, until},
};

/// Groups become empty continually, without a linger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joined_members_receive() {
    const TASKS: usize = 8;
    const ROUNDS: i64 = 60;
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, mode, "linger=0").await;
        let one = Arc::new(one);
        for round in 0..ROUNDS {
            let mut tasks = JoinSet::new();
            for _ in 0..TASKS {
                let (one, mailbox) = (one.clone(), one.new_channel().await.unwrap());
                tasks.spawn(async move {
                    for _ in 0..4 {
                        one.join("g", mailbox.channel()).await.unwrap();
                        one.leave("g", mailbox.channel()).await.unwrap();
                    }
                    one.join("g", mailbox.channel()).await.unwrap();
                    mailbox
                });
            }
            let mut members = tasks.join_all().await;
            let sent = two.group_send_message("g", numbered(round)).await.unwrap();
            assert_eq!(sent.remote, Remote::Processes(1), "{mode}: round {round}");
            for member in &mut members {
                assert_eq!(number(&next(member).await), round, "{mode}");
            }
        }
        until("nothing is left", || async {
            // Nor a channel of a mailbox, which mode pubsub has.
            server.cli(&["pubsub", "channels", &format!("{mode}specific.*")]).is_empty()
                && !has_group_channels(&server, mode)
        })
        .await;
    }
}

fn has_group_channels(server: &Server, mode: &str) -> bool {
    let pattern = if mode == "native" { "native:g:*" } else { "pubsub__group__*" };
    !server.cli(&["pubsub", "channels", pattern]).is_empty()
}

/// Callers are cancelled at any moment of a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_join_leaves_nothing() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, mode, "linger=0").await;
        let mut mailbox = one.new_channel().await.unwrap();
        for n in 0..200 {
            let name = format!("given-up-{n}");
            let join = one.join(&name, mailbox.channel());
            let joined = timeout(Duration::from_micros(n * 5), join).await.is_ok();
            // It may be a member; leaving ends that.
            one.leave(&name, mailbox.channel()).await.unwrap();
            if joined {
                sleep(Duration::ZERO).await;
            }
        }
        one.join("g", mailbox.channel()).await.unwrap();
        let _ = two.group_send_message("g", numbered(1)).await.unwrap();
        assert_eq!(number(&next(&mut mailbox).await), 1, "{mode}");
        one.leave("g", mailbox.channel()).await.unwrap();
        until("no subscription is left", || async { !has_group_channels(&server, mode) }).await;
    }
}

#[tokio::test]
async fn cancelled_open_leaves_nothing() {
    let server = Server::start();
    for mode in ["native", "pubsub", "core"] {
        let (one, _) = pair(&server, mode, "linger=0").await;
        for _ in 0..50 {
            drop(one.new_channel().now_or_never());
        }
        drop(one.new_channel().await.unwrap());
        until("no subscription is left", || async {
            server.cli(&["pubsub", "channels", &format!("{mode}specific.*")]).is_empty()
        })
        .await;
        assert_eq!(one.hub().mailbox_count(), 0, "{mode}");
    }
}

#[tokio::test]
async fn lingering_group_is_rejoined() {
    let server = Server::start();
    let linger = Duration::from_millis(400);
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, mode, "linger=400ms").await;
        let mut mailbox = one.new_channel().await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        one.leave("g", mailbox.channel()).await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        // Any end of the first subscription has had time to happen.
        sleep(linger * 2).await;
        assert!(has_group_channels(&server, mode), "{mode}");
        let _ = two.group_send_message("g", numbered(1)).await.unwrap();
        assert_eq!(number(&next(&mut mailbox).await), 1, "{mode}");
        one.leave("g", mailbox.channel()).await.unwrap();
        until("it is given up in the end", || async { !has_group_channels(&server, mode) }).await;
    }
}

/// A worker that pauses between two calls misses no message, although none is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returning_receiver_misses_nothing() {
    const MESSAGES: i64 = 300;
    let server = Server::start();
    let (one, two) = pair(&server, "pubsub", "linger=0&capacity=1000").await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    let subscribed = || async { server.cli(&["pubsub", "numsub", "jobs"]) == "jobs\n1" };
    assert!(timeout(Duration::from_millis(20), two.receive(&jobs)).await.is_err());
    assert!(subscribed().await, "for a little longer");
    let sending = async {
        for n in 0..MESSAGES {
            one.send(&jobs, numbered(n)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let receiving = async {
        let mut heard = Vec::new();
        while heard.len() < MESSAGES as usize {
            if let Ok(message) = timeout(Duration::from_micros(300), two.receive(&jobs)).await {
                heard.push(number(&message.unwrap()));
            }
        }
        heard
    };
    let ((), heard) = timeout(support::PATIENCE, async { tokio::join!(sending, receiving) }).await.unwrap();
    assert!(heard.into_iter().eq(0..MESSAGES), "each once and in order");
    until("nobody receives any more", || async { !subscribed().await }).await;
}

/// Redis counts the sender among the receivers, and the report must not count it as another process.
#[tokio::test]
async fn reports_count_other_processes() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, mode, "linger=1h").await;
        let (near, far) = (one.new_channel().await.unwrap(), two.new_channel().await.unwrap());
        one.join("g", near.channel()).await.unwrap();
        one.leave("g", near.channel()).await.unwrap();
        let report = one.group_send_message("g", numbered(1)).await.unwrap();
        assert_eq!((report.local.matched, report.remote), (0, Remote::Processes(0)), "{mode}");
        two.join("g", far.channel()).await.unwrap();
        let report = one.group_send_message("g", numbered(2)).await.unwrap();
        assert_eq!((report.local.matched, report.remote), (0, Remote::Processes(1)), "{mode}");
    }
}

/// A layer accepts messages of others only up to its limit.
#[tokio::test]
async fn over_long_messages_are_dropped() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let address = format!("{}?mode={mode}&prefix={mode}", server.address());
        let (one, two) = (layer(&address).await, layer(&(address.clone() + "&max_message=1000")).await);
        let mut mailbox = two.new_channel().await.unwrap();
        two.join("g", mailbox.channel()).await.unwrap();
        let big = numbered(1).with("text", "x".repeat(2000));
        let _ = one.group_send_message("g", big).await.unwrap();
        let _ = one.group_send_message("g", numbered(2)).await.unwrap();
        assert_eq!(number(&next(&mut mailbox).await), 2, "{mode}");
        assert_eq!((two.stats().unreadable, two.stats().disconnects), (1, 0), "{mode}");
    }
}
