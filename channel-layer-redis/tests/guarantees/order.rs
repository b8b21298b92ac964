//! The order in which members see messages.

use std::sync::Arc;

use channel_layer::{ChannelLayer, ChannelLayerExt, MailboxOptions};
use futures_util::{FutureExt, future::join_all};
use tokio::task::JoinSet;

use super::{
    pair,
    support::{next, number, numbered, server::Server},
};

fn roomy() -> MailboxOptions {
    MailboxOptions::default().with_capacity(10_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_see_one_order() {
    const SENDERS: i64 = 4;
    const EACH: i64 = 200;
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, mode, "").await;
        let layers = [Arc::new(one), Arc::new(two)];
        let mut members = Vec::new();
        for layer in [&layers[0], &layers[0], &layers[1]] {
            let mailbox = layer.open(roomy()).await.unwrap();
            layer.join("g", mailbox.channel()).await.unwrap();
            members.push(mailbox);
        }
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let layer = layers[sender as usize % 2].clone();
            senders.spawn(async move {
                for n in 0..EACH {
                    let _ = layer.group_send_message("g", numbered(sender * EACH + n)).await.unwrap();
                }
            });
        }
        while let Some(done) = senders.join_next().await {
            done.unwrap();
        }
        let mut orders = Vec::new();
        for member in &mut members {
            let mut order = Vec::new();
            for _ in 0..SENDERS * EACH {
                order.push(number(&next(member).await));
            }
            orders.push(order);
        }
        for sender in 0..SENDERS {
            let own = orders[0].iter().filter(|n| **n / EACH == sender);
            assert!(own.is_sorted(), "{mode}: of one sender");
        }
        assert!(orders[0] == orders[1], "{mode}: in one process");
        assert!(orders[0] == orders[2], "{mode}: in another process");
    }
}

/// The first poll of a call determines its position, also if the caller is cancelled.
#[tokio::test]
async fn calls_keep_their_order() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, mode, "").await;
        let mut mailbox = two.open(roomy()).await.unwrap();
        two.join("g", mailbox.channel()).await.unwrap();
        let mut under_way = Vec::new();
        for n in 0..600 {
            let mut call = match n % 2 {
                0 => one.group_send_message("g", numbered(n)).map(drop).boxed(),
                _ => one.send(mailbox.channel(), numbered(n)).map(drop).boxed(),
            };
            assert!((&mut call).now_or_never().is_none());
            // One in three is cancelled.
            if n % 3 > 0 {
                under_way.push(call);
            }
        }
        under_way.reverse();
        join_all(under_way).await;
        for n in 0..600 {
            assert_eq!(number(&next(&mut mailbox).await), n, "{mode}");
        }
        assert_eq!((two.stats().lost, two.stats().stale), (0, 0), "{mode}");
    }
}

/// More groups than the bounds of all tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_groups_without_loss() {
    const ROUNDS: i64 = 70;
    const GROUPS: i64 = 1000;
    let server = Server::start();
    let (one, two) = pair(&server, "native", "").await;
    let mut mailbox = two.open(roomy()).await.unwrap();
    two.join("g", mailbox.channel()).await.unwrap();
    for round in 0..ROUNDS {
        let _ = one.group_send_message("g", numbered(round)).await.unwrap();
        let others = (0..GROUPS)
            .map(|n| one.group_send_message(format!("other-{}", round * GROUPS + n), numbered(-1)));
        assert!(join_all(others).await.iter().all(Result::is_ok));
    }
    for round in 0..ROUNDS {
        assert_eq!(number(&next(&mut mailbox).await), round);
    }
    assert_eq!((two.stats().lost, two.stats().stale), (0, 0));
}
