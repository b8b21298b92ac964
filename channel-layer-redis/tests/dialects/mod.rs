//! Servers whose replies have other shapes than those of the installed Redis.

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName, MailboxOptions};
use channel_layer_redis::{RedisConfig, RedisLayer};
use tokio::time::timeout;

use crate::support::{
    PATIENCE,
    dialect::{Dialect, Frame, Speaker, answer, bulk, refuse, unknown},
    layer, next, number, numbered,
    server::Server,
    until,
};

const PLAIN: Dialect = Dialect { command: |_| None, reply: |frame| frame };

/// Redis 6.0.0 to 6.0.14 and 6.2.0 to 6.2.4, KeyDB up to 6.2.0: `ZPOPMIN key n` is one list.
const FLAT: Dialect = Dialect { reply: flatten, ..PLAIN };

/// Scores, counts and cursors as text, and nil for an empty list.
const TEXTS: Dialect = Dialect { reply: in_texts, ..PLAIN };

fn flatten(frame: Frame) -> Frame {
    let is_pair = |item: &Frame| matches!(item, Frame::Many('*', pair) if matches!(&pair[..], [Frame::Bulk(_), Frame::Line(score)] if score.starts_with(',')));
    match frame {
        Frame::Many('*', pairs) if !pairs.is_empty() && pairs.iter().all(is_pair) => {
            let items = pairs.into_iter().flat_map(|pair| match pair {
                Frame::Many(_, items) => items,
                other => vec![other],
            });
            Frame::Many('*', items.collect())
        }
        other => other,
    }
}

fn in_texts(frame: Frame) -> Frame {
    match frame {
        Frame::Line(line) if line.starts_with([',', ':']) => bulk(&line[1..]),
        Frame::Many('*', items) if items.is_empty() => Frame::Line("_".to_owned()),
        Frame::Many('*', items) => Frame::Many('*', items.into_iter().map(in_texts).collect()),
        other => other,
    }
}

/// Redis 5, and proxies: only the older protocol.
const NO_HELLO: Dialect =
    Dialect { command: |words| (words[0] == "HELLO").then(|| unknown("HELLO")), ..PLAIN };

const OLD_PROTOCOL: Dialect = Dialect {
    command: |words| (words[0] == "HELLO").then(|| refuse("NOPROTO unsupported protocol version")),
    ..PLAIN
};

/// A server whose ACL refuses `HELLO`.
const HELLO_FORBIDDEN: Dialect = Dialect {
    command: |words| {
        (words[0] == "HELLO")
            .then(|| refuse("NOPERM this user has no permissions to run the 'hello' command"))
    },
    ..PLAIN
};

const NO_CLIENT: Dialect =
    Dialect { command: |words| (words[0] == "CLIENT").then(|| unknown("CLIENT")), ..PLAIN };

const NO_ROLE: Dialect = Dialect { command: |words| (words[0] == "ROLE").then(|| unknown("ROLE")), ..PLAIN };

/// KeyDB with `active-replica yes`.
const ACTIVE_REPLICA: Dialect = Dialect {
    command: |words| {
        (words[0] == "ROLE").then(|| answer("{'active-replica', '10.0.0.1', 6379, 'connected', 0}"))
    },
    ..PLAIN
};

/// A proxy that forwards the commands of applications, but not those of administrators.
const PROXY: Dialect = Dialect {
    command: |words| {
        ["HELLO", "CLIENT", "ROLE", "INFO", "CONFIG"].contains(&words[0]).then(|| unknown(words[0]))
    },
    reply: in_texts_but_messages,
};

/// Like [`in_texts`], for servers that send confirmations and messages as arrays too.
fn in_texts_but_messages(frame: Frame) -> Frame {
    match &frame {
        Frame::Many('*', items) if matches!(&items[..], [Frame::Bulk(Some(kind)), ..] if kind.ends_with(b"subscribe")) => {
            frame
        }
        _ => in_texts(frame),
    }
}

/// Two processes on one server of this dialect.
async fn pair(server: &Server, dialect: Dialect, mode: &str) -> (RedisLayer, RedisLayer, Speaker) {
    let speaker = Speaker::to(server.port, dialect).await;
    let address = format!("{}?mode={mode}&capacity=1000", speaker.address());
    (layer(&address).await, layer(&address).await, speaker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_arrive_in_every_dialect() {
    let server = Server::start();
    let dialects =
        [FLAT, TEXTS, NO_HELLO, OLD_PROTOCOL, HELLO_FORBIDDEN, NO_CLIENT, NO_ROLE, ACTIVE_REPLICA, PROXY];
    for (at, dialect) in dialects.into_iter().enumerate() {
        for mode in ["core", "native", "pubsub"] {
            let (one, two, _speaker) = pair(&server, dialect, mode).await;
            let mut mailbox = two.open(MailboxOptions::default()).await.unwrap();
            two.join("room", mailbox.channel()).await.unwrap();
            for n in 0..150 {
                one.send(mailbox.channel(), numbered(n)).await.unwrap();
            }
            for n in 0..150 {
                assert_eq!(number(&next(&mut mailbox).await), n, "{at} {mode}");
            }
            let _ = one.group_send_message("room", numbered(150)).await.unwrap();
            assert_eq!(number(&next(&mut mailbox).await), 150, "{at} {mode}");
            if mode != "pubsub" {
                let jobs: ChannelName = "jobs".parse().unwrap();
                for n in 0..20 {
                    one.send(&jobs, numbered(n)).await.unwrap();
                }
                for n in 0..20 {
                    let job = timeout(PATIENCE, two.receive(&jobs)).await.unwrap().unwrap();
                    assert_eq!(number(&job), n, "{at} {mode}");
                }
                one.send(&jobs, numbered(1)).await.unwrap();
                one.flush().await.unwrap();
            }
            let is_nothing_lost = [&one, &two].iter().all(|layer| layer.stats().unreadable == 0);
            assert!(is_nothing_lost, "{at} {mode}: {:?}", two.stats());
        }
    }
}

/// A reply of unknown shape is counted, and later replies are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_replies_are_counted() {
    type Case = (&'static str, fn(&[&str]) -> Option<Vec<String>>);
    let cases: [Case; 7] = [
        ("core", |words| (words[0] == "ZPOPMIN").then(|| answer("{'odd'}"))),
        ("core", |words| (words[0] == "BZPOPMIN").then(|| answer("{'a', 'b', 'c'}"))),
        ("core", |words| (words[0] == "EVALSHA").then(|| answer("{'odd'}"))),
        ("core", |words| words.starts_with(&["CLIENT", "ID"]).then(|| answer("{1}"))),
        ("native", |words| (words[0] == "BLPOP").then(|| answer("{'a', 'b', 'c'}"))),
        ("native", |words| (words[0] == "ROLE").then(|| answer("5"))),
        ("pubsub", |words| (words[0] == "PUBLISH" && words[1].contains("__group__")).then(|| answer("'x'"))),
    ];
    let server = Server::start();
    let broken = layer(&server.address()).await;
    server.cli(&["rpush", "asgi:q:jobs", "9999999999999:odd"]);
    assert!(timeout(Duration::from_millis(300), broken.receive(&"jobs".parse().unwrap())).await.is_err());
    assert_eq!(broken.stats().unreadable, 1);
    for (at, (mode, command)) in cases.into_iter().enumerate() {
        let speaker = Speaker::to(server.port, Dialect { command, ..PLAIN }).await;
        let config: RedisConfig = format!("{}?mode={mode}&prefix=p{at}", speaker.address()).parse().unwrap();
        let one = RedisLayer::open(config).await.unwrap();
        let jobs: ChannelName = "jobs".parse().unwrap();
        let used = async {
            let mailbox = one.new_channel().await;
            let _ = one.send(&jobs, numbered(1)).await;
            let _ = one.group_send_message("room", numbered(1)).await;
            for _ in 0..2 {
                let _ = timeout(PATIENCE, one.receive(&jobs)).await;
            }
            drop(mailbox);
        };
        let case = format!("{mode}, case {at} is counted");
        let counted = until(&case, async || one.stats().unreadable > 0);
        tokio::select! {
            () = counted => {}
            () = async { used.await; std::future::pending().await } => {}
        }
    }
}

/// A proxy that replies `NOAUTH` to all commands but `AUTH` before the login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_by_auth_alone() {
    let server = Server::start_with(&["--requirepass", "canary"]);
    let command = |words: &[&str]| (words[0] == "HELLO").then(|| vec!["PING".to_owned()]);
    let speaker = Speaker::to(server.port, Dialect { command, ..PLAIN }).await;
    let address = |login: &str| speaker.address().replace("redis://", &format!("redis://{login}"));
    let one = layer(&address(":canary@")).await;
    let mut mailbox = one.new_channel().await.unwrap();
    one.join("room", mailbox.channel()).await.unwrap();
    let _ = one.group_send_message("room", numbered(1)).await.unwrap();
    assert_eq!(number(&next(&mut mailbox).await), 1);
    for (login, named) in [("", "NOAUTH"), (":wrong@", "authentication failed")] {
        let config: RedisConfig = address(login).parse().unwrap();
        let refused = RedisLayer::open(config).await.unwrap_err().to_string();
        assert!(refused.contains(named), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_read_in_every_shape() {
    type Case = (fn(&[&str]) -> Option<Vec<String>>, bool, u64);
    macro_rules! role {
        ($lua:literal) => {
            |words| (words[0] == "ROLE").then(|| answer($lua))
        };
    }
    let cases: [Case; 11] = [
        (role!("{'master', 0, {}}"), true, 0),
        (role!("{'MASTER'}"), true, 0),
        (role!("{'active-replica', 'h', 1, 'connected', 0}"), true, 0),
        (role!("{'slave', 'h', 1, 'connected', 0}"), false, 0),
        (role!("{'Replica', 'h', 1, 'stable_sync'}"), false, 0),
        (role!("{'sentinel', {}}"), false, 0),
        (role!("{'proxy'}"), true, 1),
        (role!("{}"), true, 1),
        (role!("{{'slave'}}"), true, 1),
        (role!("'master'"), true, 1),
        (role!("false"), true, 1),
    ];
    let server = Server::start();
    for (at, (command, serves, unreadable)) in cases.into_iter().enumerate() {
        let speaker = Speaker::to(server.port, Dialect { command, ..PLAIN }).await;
        match RedisLayer::connect(&speaker.address()).await {
            Ok(layer) => assert!(serves && layer.stats().unreadable.min(1) == unreadable, "case {at}"),
            Err(error) => assert!(!serves && error.to_string().contains("not a master"), "{at}: {error}"),
        }
    }
}
