//! Subscriptions come and go with members, and no message falls between.

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

/// The first member and the last one change all the time, without a linger that would hide it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_joined_hears_though_others_leave_meanwhile() {
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
            // Of the mailboxes' own channels, which mode pubsub has, nothing either.
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

/// A caller may lose its patience at any moment of a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_given_up_at_any_moment_leaves_no_subscription() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, mode, "linger=0").await;
        let mut mailbox = one.new_channel().await.unwrap();
        for n in 0..200 {
            let name = format!("given-up-{n}");
            let join = one.join(&name, mailbox.channel());
            let joined = timeout(Duration::from_micros(n * 5), join).await.is_ok();
            // It may be a member or not; a later leave ends that.
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
async fn a_mailbox_given_up_while_it_opens_leaves_nothing() {
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
async fn a_group_joined_again_while_it_lingers_is_not_given_up() {
    let server = Server::start();
    let linger = Duration::from_millis(400);
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, mode, "linger=400ms").await;
        let mut mailbox = one.new_channel().await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        one.leave("g", mailbox.channel()).await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        // Whatever was to end with the first member has had its time.
        sleep(linger * 2).await;
        assert!(has_group_channels(&server, mode), "{mode}");
        let _ = two.group_send_message("g", numbered(1)).await.unwrap();
        assert_eq!(number(&next(&mut mailbox).await), 1, "{mode}");
        one.leave("g", mailbox.channel()).await.unwrap();
        until("it is given up in the end", || async { !has_group_channels(&server, mode) }).await;
    }
}

/// A worker that does something else between two calls misses nothing, although nobody stores it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_comes_back_at_once_misses_nothing() {
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

/// The sender is counted among the receivers of what it publishes, and must not be told of as another process.
#[tokio::test]
async fn a_report_counts_other_processes_only_while_a_group_lingers() {
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

/// A layer takes the messages of others only up to its own limit.
#[tokio::test]
async fn a_message_beyond_the_readers_limit_is_counted_and_dropped() {
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
