//! The native mode on a healthy server.

mod support;

use std::{collections::HashSet, sync::Arc, time::Duration};

use channel_layer::{Audience, ChannelLayer, ChannelLayerExt, ChannelName, Error, Message, Remote, Value};
use channel_layer_redis::{RedisConfig, RedisLayer};
use futures_util::FutureExt;
use support::{group, is_silent, layer, next, number, numbered, server::Server, until};
use tokio::time::timeout;

/// Two layers on one server, which represent two processes.
async fn pair(server: &Server) -> (RedisLayer, RedisLayer) {
    (layer(&server.address()).await, layer(&server.address()).await)
}

#[tokio::test]
async fn group_spans_processes() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let mut members = Vec::new();
    for layer in [&one, &one, &two] {
        let mailbox = layer.new_channel().await.unwrap();
        layer.join("g", mailbox.channel()).await.unwrap();
        members.push(mailbox);
    }
    let report = one.group_send_message("g", numbered(1)).await.unwrap();
    assert_eq!((report.local.delivered, report.remote), (2, Remote::Processes(1)));
    let report = two.group_send_message("g", numbered(2)).await.unwrap();
    assert_eq!((report.local.delivered, report.remote), (1, Remote::Processes(1)));
    for member in &mut members {
        assert_eq!((number(&next(member).await), number(&next(member).await)), (1, 2));
        assert!(is_silent(member).await);
    }
}

#[tokio::test]
async fn values_keep_their_types() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let mut mailbox = two.new_channel().await.unwrap();
    let message = Message::new("types")
        .with("bytes", Value::bytes([0, 255]))
        .with("text", "汉字 ✓")
        .with("float", 1.0)
        .with("big", u64::MAX)
        .with("negative", i64::MIN)
        .with("nothing", Value::Null)
        .with("list", Value::list([1, 2]));
    one.send(mailbox.channel(), message.clone()).await.unwrap();
    assert_eq!(next(&mut mailbox).await, message);
}

#[tokio::test]
async fn audience_unions_and_excepts() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let mut both = two.new_channel().await.unwrap();
    let mut left_out = two.new_channel().await.unwrap();
    let mut own = one.new_channel().await.unwrap();
    for name in ["g", "h"] {
        two.join(name, both.channel()).await.unwrap();
        two.join(name, left_out.channel()).await.unwrap();
        one.join(name, own.channel()).await.unwrap();
    }
    let audience = Audience::from(group("g")).and(group("h")).and(group("g")).except(left_out.channel());
    let report = one.group_send(&audience, numbered(1)).await.unwrap();
    assert_eq!(report.local.delivered, 1);
    assert_eq!((number(&next(&mut both).await), number(&next(&mut own).await)), (1, 1));
    assert!(is_silent(&mut both).await && is_silent(&mut own).await && is_silent(&mut left_out).await);
}

#[tokio::test]
async fn local_only_stays_at_home() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let (mut near, mut far) = (one.new_channel().await.unwrap(), two.new_channel().await.unwrap());
    one.join("g", near.channel()).await.unwrap();
    two.join("g", far.channel()).await.unwrap();
    let report = one.group_send(&Audience::from(group("g")).local_only(), numbered(1)).await.unwrap();
    assert_eq!((report.local.delivered, report.remote), (1, Remote::None));
    assert_eq!(number(&next(&mut near).await), 1);
    assert!(is_silent(&mut far).await);
}

#[tokio::test]
async fn one_subscription_per_group() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let mut members = Vec::new();
    for _ in 0..20 {
        for layer in [&one, &two] {
            let mailbox = layer.new_channel().await.unwrap();
            layer.join("g", mailbox.channel()).await.unwrap();
            members.push(mailbox);
        }
    }
    assert_eq!(server.cli(&["pubsub", "numsub", "asgi:g:g"]), "asgi:g:g\n2");
    let before = calls(&server, "publish");
    for n in 0..50 {
        let _ = one.group_send_message("g", numbered(n)).await.unwrap();
    }
    let probes = 2; // each layer may have sent one meanwhile
    let publishes = calls(&server, "publish") - before;
    assert!((50..=50 + probes).contains(&publishes), "{publishes}");
    assert_eq!(calls(&server, "subscribe"), 2 + 2, "the channels of each process, and the group");
}

fn calls(server: &Server, command: &str) -> u64 {
    let stats = server.cli(&["info", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn empty_group_is_unsubscribed() {
    let server = Server::start();
    let address = server.address() + "?linger=100ms";
    let one = layer(&address).await;
    let mailbox = one.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    assert_eq!(server.cli(&["pubsub", "numsub", "asgi:g:g"]), "asgi:g:g\n1");
    drop(mailbox);
    until("unsubscribed", || async { server.cli(&["pubsub", "numsub", "asgi:g:g"]) == "asgi:g:g\n0" }).await;

    let mut mailbox = one.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    assert_eq!(one.group_send_message("g", numbered(1)).await.unwrap().local.delivered, 1);
    assert_eq!(number(&next(&mut mailbox).await), 1);
}

#[tokio::test]
async fn prefixes_keep_layers_apart() {
    let server = Server::start();
    let one = layer(&(server.address() + "?prefix=one")).await;
    let two = layer(&(server.address() + "?prefix=two")).await;
    let mut mailbox = two.new_channel().await.unwrap();
    two.join("g", mailbox.channel()).await.unwrap();
    let report = one.group_send_message("g", numbered(1)).await.unwrap();
    assert_eq!(report.remote, Remote::Processes(0));
    assert!(is_silent(&mut mailbox).await);
}

#[tokio::test]
async fn foreign_channels_join_and_leave() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let mut mailbox = two.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    let report = one.group_send_message("g", numbered(1)).await.unwrap();
    assert_eq!(report.remote, Remote::Processes(1), "it is a member once the call returns");
    assert_eq!(number(&next(&mut mailbox).await), 1);
    one.leave("g", mailbox.channel()).await.unwrap();
    let _ = one.group_send_message("g", numbered(2)).await.unwrap();
    assert!(is_silent(&mut mailbox).await);

    let gone = mailbox.channel().clone();
    drop(mailbox);
    one.join("g", &gone).await.unwrap();
    one.send(&gone, numbered(1)).await.unwrap();
    drop(two);
    until("the process is gone", || async { one.join("g", &gone).await.is_ok() }).await;
}

#[tokio::test]
async fn flush_empties_every_process() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let mut mailbox = two.new_channel().await.unwrap();
    two.join("g", mailbox.channel()).await.unwrap();
    let jobs = "jobs".parse().unwrap();
    one.send(&jobs, numbered(1)).await.unwrap();
    one.send(mailbox.channel(), numbered(1)).await.unwrap();
    one.flush().await.unwrap();
    until("the other has flushed", || async { two.hub().group_count() == 0 }).await;
    assert!(mailbox.try_recv().is_none());
    assert!(timeout(Duration::from_millis(200), two.receive(&jobs)).await.is_err());
    one.send(mailbox.channel(), numbered(2)).await.unwrap();
    assert_eq!(number(&next(&mut mailbox).await), 2, "it is still open");
}

#[tokio::test]
async fn closed_layer_refuses_calls() {
    let server = Server::start();
    let one = layer(&server.address()).await;
    let mut events = one.events();
    let jobs: ChannelName = "jobs".parse().unwrap();
    let (received, closed) = tokio::join!(one.receive(&jobs), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        one.close().await
    });
    closed.unwrap();
    assert!(matches!(received, Err(Error::Closed)));
    assert!(matches!(one.send(&jobs, numbered(1)).await, Err(Error::Closed)));
    assert!(matches!(one.group_send_message("g", numbered(1)).await, Err(Error::Closed)));
    assert_eq!(events.next().await, None);
    one.close().await.unwrap();
}

#[tokio::test]
async fn dropped_layer_disconnects() {
    let server = Server::start();
    let one = layer(&server.address()).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    one.send(&jobs, numbered(1)).await.unwrap();
    one.receive(&jobs).await.unwrap();
    assert!(server.cli(&["client", "list"]).contains("channel-layer"));
    drop(one);
    until("gone", || async { server.cli(&["client", "list"]).lines().count() == 1 }).await;
}

#[tokio::test]
async fn expired_messages_are_dropped() {
    let server = Server::start();
    let address = server.address() + "?expiry=200ms";
    let (one, two) = (layer(&address).await, layer(&address).await);
    let mut mailbox = two.new_channel().await.unwrap();
    let jobs: ChannelName = "jobs".parse().unwrap();
    one.send(mailbox.channel(), numbered(1)).await.unwrap();
    one.send(&jobs, numbered(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    one.send(mailbox.channel(), numbered(2)).await.unwrap();
    one.send(&jobs, numbered(2)).await.unwrap();
    assert_eq!(number(&next(&mut mailbox).await), 2);
    assert_eq!(number(&two.receive(&jobs).await.unwrap()), 2);
}

#[tokio::test]
async fn full_named_channel_refuses() {
    let server = Server::start();
    let one = layer(&(server.address() + "?capacity=2&expiry=300ms")).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    for n in 0..2 {
        one.send(&jobs, numbered(n)).await.unwrap();
    }
    assert_eq!(one.stats().published, 2);
    let full = one.send(&jobs, numbered(2)).await;
    assert!(matches!(full, Err(Error::ChannelFull { channel }) if channel == "jobs"));
    tokio::time::sleep(Duration::from_millis(400)).await;
    one.send(&jobs, numbered(3)).await.unwrap();
    assert_eq!(number(&one.receive(&jobs).await.unwrap()), 3);
}

#[tokio::test]
async fn long_messages_are_refused() {
    let server = Server::start();
    let one = layer(&(server.address() + "?max_message=1000")).await;
    let big = Message::new("big").with("text", "x".repeat(2000));
    assert!(matches!(one.group_send_message("g", big.clone()).await, Err(Error::InvalidMessage(_))));
    assert!(matches!(one.send(&"jobs".parse().unwrap(), big).await, Err(Error::InvalidMessage(_))));
}

#[tokio::test]
async fn foreign_payloads_are_counted() {
    let server = Server::start();
    let one = layer(&server.address()).await;
    let mut mailbox = one.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    for garbage in ["", "\u{1}", "garbage", "\u{1}\u{2}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        server.cli(&["publish", "asgi:g:g", garbage]);
    }
    assert_eq!(one.group_send_message("g", numbered(1)).await.unwrap().local.delivered, 1);
    assert_eq!(number(&next(&mut mailbox).await), 1);
    assert_eq!(one.stats().unreadable, 4);
}

#[tokio::test]
async fn dropped_futures_still_send() {
    let server = Server::start();
    let one = layer(&server.address()).await;
    let mut mailbox = one.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    for n in 0..100 {
        // Polled once, so that it is queued, then dropped.
        assert!(one.group_send_message("g", numbered(n)).now_or_never().is_none());
    }
    for n in 0..100 {
        assert_eq!(number(&next(&mut mailbox).await), n);
    }
}

#[tokio::test]
async fn one_sender_keeps_its_order() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let options = channel_layer::MailboxOptions::default().with_capacity(1000);
    let mut mailbox = two.open(options).await.unwrap();
    two.join("g", mailbox.channel()).await.unwrap();
    for n in 0..300 {
        match n % 3 {
            0 => one.send(mailbox.channel(), numbered(n)).await.unwrap(),
            1 => {
                let _ = one.group_send_message("g", numbered(n)).await.unwrap();
            }
            _ => {
                let union = Audience::from(group("g")).and(group("h"));
                let _ = one.group_send(&union, numbered(n)).await.unwrap();
            }
        }
    }
    for n in 0..300 {
        assert_eq!(number(&next(&mut mailbox).await), n);
    }
    assert_eq!((two.stats().lost, two.stats().stale), (0, 0));
}

#[tokio::test]
async fn named_member_receives_once() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    one.join("g", &jobs).await.unwrap();
    two.join("g", &jobs).await.unwrap();
    for n in 0..20 {
        let _ = one.group_send_message("g", numbered(n)).await.unwrap();
    }
    for n in 0..20 {
        assert_eq!(number(&timeout(support::PATIENCE, two.receive(&jobs)).await.unwrap().unwrap()), n);
    }
    assert!(timeout(Duration::from_millis(200), two.receive(&jobs)).await.is_err());
    one.leave("g", &jobs).await.unwrap();
    until("left everywhere", || async { two.hub().group_count() == 0 }).await;
}

#[tokio::test]
async fn mailbox_channel_is_exclusive() {
    let server = Server::start();
    let (one, two) = pair(&server).await;
    let mailbox = one.new_channel().await.unwrap();
    for layer in [&one, &two] {
        assert!(matches!(layer.receive(mailbox.channel()).await, Err(Error::ChannelOwned { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_receivers_lose_none() {
    const MESSAGES: i64 = 2000;
    let server = Server::start();
    let address = server.address() + "?capacity=5000";
    let sender = layer(&address).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    let (results, mut got) = tokio::sync::mpsc::unbounded_channel();
    let mut workers = Vec::new();
    for worker in 0..3 {
        let (layer, jobs, results) = (Arc::new(layer(&address).await), jobs.clone(), results.clone());
        workers.push(tokio::spawn(async move {
            let cancel_after = Duration::from_micros(300 * (worker + 1));
            loop {
                // A worker that pauses and starts to receive again.
                match timeout(cancel_after, layer.receive(&jobs)).await {
                    Ok(Ok(message)) => results.send(number(&message)).unwrap(),
                    Ok(Err(Error::Closed)) => return,
                    Ok(Err(error)) => panic!("{error}"),
                    Err(_) => {}
                }
                if layer.stats().taken > 900 && worker == 0 {
                    layer.close().await.unwrap(); // leaves early, and returns what it holds
                }
            }
        }));
    }
    for n in 0..MESSAGES {
        sender.send(&jobs, numbered(n)).await.unwrap();
    }
    let mut seen = HashSet::new();
    while seen.len() < MESSAGES as usize {
        let n = timeout(support::PATIENCE, got.recv()).await.expect("nothing is lost").unwrap();
        assert!(seen.insert(n), "{n} came twice");
    }
    assert!(timeout(Duration::from_millis(300), got.recv()).await.is_err(), "nothing comes twice");
    workers.iter().for_each(|worker| worker.abort());
}

#[tokio::test]
async fn health_measures_the_whole_way() {
    let server = Server::start();
    let one = layer(&server.address()).await;
    let _mailbox = one.new_channel().await.unwrap();
    let health = one.health().await.unwrap();
    assert!(health.round_trip > Duration::ZERO);
    assert_eq!((health.mailboxes, health.groups), (1, 0));
}

#[tokio::test]
async fn unix_socket_with_password() {
    let server = Server::start_with(&["--requirepass", "canary"]);
    let address = format!("unix://:canary@{}?db=3", server.socket().display());
    let one = layer(&address).await;
    assert!(one.health().await.is_ok());
    assert!(!format!("{one:?}").contains("canary"));

    for wrong in ["redis://:canary2@127.0.0.1", "redis://canary2:canary3@127.0.0.1", "redis://127.0.0.1"] {
        let config: RedisConfig = format!("{wrong}:{}", server.port).parse().unwrap();
        let error = RedisLayer::open(config).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

/// A server without the login command quotes its arguments in the error.
#[tokio::test]
async fn errors_hide_echoed_passwords() {
    for lacking in [&["HELLO"][..], &["HELLO", "AUTH"]] {
        let renamed = lacking.iter().flat_map(|command| ["--rename-command", *command, ""]);
        let server =
            Server::start_with(&["--requirepass", "canary"].into_iter().chain(renamed).collect::<Vec<_>>());
        for password in ["canary", "canary2"] {
            let address = format!("redis://:{password}@127.0.0.1:{}/0", server.port);
            let connected = RedisLayer::connect(&address).await;
            assert_eq!(connected.is_ok(), lacking.len() == 1 && password == "canary");
            assert!(!format!("{connected:?}").contains("canary"));
            assert!(connected.err().is_none_or(|error| !error.to_string().contains("canary")));
        }
    }
}

#[tokio::test]
async fn a_replica_is_refused() {
    let master = Server::start();
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let error = RedisLayer::connect(&replica.address()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}
