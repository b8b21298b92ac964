//! Closed, dropped and killed layers.

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName, Error, MailboxOptions};
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};

use super::{
    pair,
    support::{self, next, number, numbered, server::Server, until},
};

#[tokio::test]
async fn sends_before_close_arrive() {
    let server = Server::start();
    let jobs: ChannelName = "jobs".parse().unwrap();
    for mode in ["native", "pubsub", "core"] {
        let (one, two) = pair(&server, mode, "capacity=1000").await;
        let mut mailbox = two.open(MailboxOptions::default().with_capacity(1000)).await.unwrap();
        let stores = one.capabilities().stores_messages;
        one.send(mailbox.channel(), numbered(0)).await.unwrap();
        one.send(&jobs, numbered(0)).await.unwrap();
        for n in 1..=200 {
            // Polled once, so that it is queued, then dropped.
            assert!(one.send(mailbox.channel(), numbered(n)).now_or_never().is_none());
            assert!(!stores || one.send(&jobs, numbered(n)).now_or_never().is_none());
        }
        one.close().await.unwrap();
        for n in 0..=200 {
            assert_eq!(number(&next(&mut mailbox).await), n, "{mode}");
            if stores {
                let job = timeout(support::PATIENCE, two.receive(&jobs)).await;
                let job = job.unwrap_or_else(|_| panic!("{mode}: {n} is not stored"));
                assert_eq!(number(&job.unwrap()), n, "{mode}");
            }
        }
    }
}

#[tokio::test]
async fn close_cleans_the_server() {
    let server = Server::start();
    let jobs: ChannelName = "jobs".parse().unwrap();
    for mode in ["native", "pubsub", "core"] {
        let (one, two) = pair(&server, mode, "").await;
        let mut mailbox = one.new_channel().await.unwrap();
        let mut events = one.events();
        for name in ["g", "h"] {
            one.join(name, mailbox.channel()).await.unwrap();
        }
        if mode != "pubsub" {
            one.join("g", &jobs).await.unwrap();
            one.leave("g", &jobs).await.unwrap();
        }
        for n in 0..2 {
            one.send(mailbox.channel(), numbered(n)).await.unwrap();
        }
        let (received, closed) = tokio::join!(one.receive(&jobs), async {
            sleep(Duration::from_millis(50)).await;
            one.close().await
        });
        closed.unwrap();
        assert!(matches!(received, Err(Error::Closed)), "{mode}: {received:?}");
        assert_eq!(events.next().await, None, "{mode}");
        assert_eq!((mailbox.try_recv().as_ref().map(number), mailbox.try_recv().as_ref().map(number)), {
            (Some(0), Some(1))
        });
        two.close().await.unwrap();
        one.close().await.unwrap();
        until("no connection is left", || async { server.cli(&["client", "list"]).lines().count() == 1 })
            .await;
        until("no key is left", || async { server.cli(&["dbsize"]) == "0" }).await;
        assert_eq!(server.cli(&["pubsub", "channels"]), "", "{mode}");
    }
}

#[tokio::test]
async fn drop_during_calls_disconnects() {
    let server = Server::start();
    let jobs: ChannelName = "jobs".parse().unwrap();
    for mode in ["native", "pubsub", "core"] {
        let (one, two) = pair(&server, mode, "").await;
        let mailbox = one.new_channel().await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        assert!(timeout(Duration::from_millis(50), one.receive(&jobs)).await.is_err());
        for n in 0..20 {
            drop(one.group_send_message("g", numbered(n)).now_or_never());
            drop(two.send(mailbox.channel(), numbered(n)).now_or_never());
        }
        drop((one, two));
        until("no connection is left", || async { server.cli(&["client", "list"]).lines().count() == 1 })
            .await;
        drop(mailbox); // outlives its layer
    }
}

/// A process that dies without closing.
#[tokio::test]
async fn lost_forwarder_is_replaced() {
    let server = Server::start();
    let jobs: ChannelName = "jobs".parse().unwrap();
    let (one, two) = pair(&server, "native", "").await;
    one.join("g", &jobs).await.unwrap();
    let _ = one.group_send_message("g", numbered(0)).await.unwrap();
    assert_eq!(number(&two.receive(&jobs).await.unwrap()), 0);
    two.join("g", &jobs).await.unwrap();
    drop(one);
    let send = async {
        for n in 1.. {
            let _ = two.group_send_message("g", numbered(n)).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
    };
    let first = tokio::select! {
        received = timeout(support::PATIENCE, two.receive(&jobs)) => number(&received.unwrap().unwrap()),
        () = send => unreachable!("it sends forever"),
    };
    let _ = two.group_send_message("g", numbered(-1)).await.unwrap();
    let mut last = first;
    while last != -1 {
        let n = number(&timeout(support::PATIENCE, two.receive(&jobs)).await.unwrap().unwrap());
        assert!(n == -1 || n == last + 1, "each once and in order: {n} after {last}");
        last = n;
    }
}
