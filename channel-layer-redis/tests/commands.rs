//! The commands that each call costs, as the server counts them.

mod support;

use std::{
    collections::BTreeMap,
    fmt::{Debug, Formatter, Result as Shown},
};

use channel_layer::{Audience, ChannelLayer, ChannelLayerExt, ChannelName, Mailbox};
use channel_layer_redis::RedisLayer;
use futures_util::future::join_all;
use support::{group, layer, next, number, numbered, server::Server, until};

/// Options without heartbeats and probes, which would be counted.
const QUIET: &str = "heartbeat=1h&probe=1h&linger=1h";

const GROUPS: usize = 10;

/// Calls by command, without those of scripts and of blocking readers.
#[derive(Clone, Default, PartialEq)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Commands that only scripts and the readers of queues send; `info` is the count itself.
    const UNCOUNTED: [&str; 18] = [
        "bzpopmin",
        "client|id",
        "client|unblock",
        "get",
        "info",
        "lindex",
        "llen",
        "lpop",
        "pexpire",
        "pttl",
        "rpush",
        "time",
        "zadd",
        "zcard",
        "zpopmin",
        "zrange",
        "zremrangebyscore",
        "zscore",
    ];

    fn by(server: &Server) -> Self {
        let stats = server.cli(&["info", "commandstats"]);
        let count = |line: &str| {
            let (command, calls) = line.trim().strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls = calls.split(',').next()?.parse().ok()?;
            (!Self::UNCOUNTED.contains(&command)).then(|| (command.to_owned(), calls))
        };
        Self(stats.lines().filter_map(count).collect())
    }

    fn since(&self, before: &Self) -> Self {
        let more = |(command, calls): (&String, &u64)| {
            let more = calls - before.0.get(command).unwrap_or(&0);
            (more > 0).then(|| (command.clone(), more))
        };
        Self(self.0.iter().filter_map(more).collect())
    }
}

impl<const N: usize> From<[(&str, usize); N]> for Counts {
    fn from(counts: [(&str, usize); N]) -> Self {
        Self(counts.iter().map(|(command, calls)| ((*command).to_owned(), *calls as u64)).collect())
    }
}

impl Debug for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Shown {
        self.0.fmt(f)
    }
}

/// The commands that the server has executed for these calls.
async fn cost(server: &Server, calls: impl Future) -> Counts {
    let before = Counts::by(server);
    calls.await;
    Counts::by(server).since(&before)
}

/// Two processes.
async fn pair(server: &Server, options: &str) -> (RedisLayer, RedisLayer) {
    let address = format!("{}?{QUIET}&{options}", server.address());
    (layer(&address).await, layer(&address).await)
}

async fn mailboxes(layer: &RedisLayer, count: usize) -> Vec<Mailbox> {
    let open = (0..count).map(|_| layer.new_channel());
    join_all(open).await.into_iter().map(|mailbox| mailbox.expect("a mailbox")).collect()
}

async fn join_each(layer: &RedisLayer, mailbox: &Mailbox) {
    for n in 0..GROUPS {
        layer.join(format!("g{n}"), mailbox.channel()).await.expect("a member");
    }
}

async fn leave_each(layer: &RedisLayer, mailbox: &Mailbox) {
    for n in 0..GROUPS {
        layer.leave(format!("g{n}"), mailbox.channel()).await.expect("no member");
    }
}

#[tokio::test]
async fn group_costs_one_subscribe() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, _) = pair(&server, &format!("mode={mode}&prefix={mode}")).await;
        let mut members = mailboxes(&one, 5).await;
        let joined = cost(&server, join_each(&one, &members[0])).await;
        assert_eq!(joined, [("subscribe", GROUPS)].into(), "{mode}: the first member");
        let others = async {
            for member in &members[1..] {
                join_each(&one, member).await;
            }
            join_each(&one, &members[1]).await; // already a member
            for member in &members {
                leave_each(&one, member).await;
            }
            join_each(&one, &members[2]).await;
            drop(members.pop());
            one.group_discard_all(members[2].channel()).await.expect("no member");
            join_each(&one, &members[0]).await;
        };
        assert_eq!(cost(&server, others).await, Counts::default(), "{mode}: all others");
    }
}

#[tokio::test]
async fn concurrent_joins_share_a_subscribe() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, _) = pair(&server, &format!("mode={mode}&prefix={mode}")).await;
        let mailbox = one.new_channel().await.unwrap();
        let join = cost(&server, async {
            let joins = (0..500).map(|n| one.join(format!("g{n}"), mailbox.channel()));
            assert!(join_all(joins).await.iter().all(Result::is_ok));
        })
        .await;
        assert!(join.0.len() == 1 && join.0["subscribe"] <= 5, "{mode}: {join:?}");
        // Several commands, because each has a limited length.
        let again = cost(&server, async {
            server.cli(&["client", "kill", "type", "pubsub"]);
            until("a new session", || async { one.is_connected() && one.stats().reconnects == 1 }).await;
        })
        .await;
        assert!(again.0["subscribe"] <= 5, "{mode}: {again:?}");
    }
}

#[tokio::test]
async fn left_group_costs_an_unsubscribe() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let address = format!("{}?heartbeat=1h&probe=1h&linger=0&mode={mode}", server.address());
        let one = layer(&address).await;
        let mailbox = one.new_channel().await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        let channels =
            || server.cli(&["pubsub", "channels", "*g:g"]) + &server.cli(&["pubsub", "channels", "*__g"]);
        let left = cost(&server, async {
            one.leave("g", mailbox.channel()).await.unwrap();
            until("unsubscribed", || async { channels().is_empty() }).await;
        })
        .await;
        assert_eq!(left.0.get("unsubscribe"), Some(&1), "{mode}: {left:?}");
        let joined = cost(&server, one.join("g", mailbox.channel())).await;
        assert_eq!(joined, [("subscribe", 1)].into(), "{mode}");
    }
}

#[tokio::test]
async fn mailbox_costs_by_mode() {
    let server = Server::start();
    // Django's format has a subscription for each mailbox.
    for (mode, subscribes) in [("native", 0), ("core", 0), ("pubsub", 20)] {
        let (one, _) = pair(&server, &format!("mode={mode}&prefix={mode}")).await;
        let mut opened = Vec::new();
        let open = cost(&server, async {
            for _ in 0..20 {
                opened.push(one.new_channel().await.expect("a mailbox"));
            }
        })
        .await;
        assert_eq!(open.0.get("subscribe").copied().unwrap_or(0), subscribes, "{mode}");
        assert!(open.0.keys().all(|command| command == "subscribe"), "{mode}: {open:?}");
        let end = cost(&server, async { opened.clear() }).await;
        assert_eq!(end, Counts::default(), "{mode}: they linger");
    }
}

#[tokio::test]
async fn group_message_costs_one_publish() {
    let server = Server::start();
    for mode in ["native", "pubsub"] {
        let (one, two) = pair(&server, &format!("mode={mode}&prefix={mode}")).await;
        let (mut near, mut far) = (mailboxes(&one, 3).await, mailboxes(&two, 3).await);
        for (near, far) in near.iter().zip(&far) {
            one.join("near", near.channel()).await.unwrap();
            two.join("far", far.channel()).await.unwrap();
            one.join("both", near.channel()).await.unwrap();
            two.join("both", far.channel()).await.unwrap();
        }
        for name in ["near", "far", "both", "nobody"] {
            let send = cost(&server, async {
                for n in 0..10 {
                    let _ = one.group_send_message(name, numbered(n)).await.expect("Redis is up");
                }
            })
            .await;
            assert_eq!(send, [("publish", 10)].into(), "{mode}: {name}");
        }
        let except = Audience::from(group("both")).except(near[0].channel());
        let send = cost(&server, one.group_send(&except, numbered(10))).await;
        assert_eq!(send, [("publish", 1)].into(), "{mode}: with an exception");
        let union = Audience::from(group("near")).and(group("far")).and(group("far"));
        let send = cost(&server, one.group_send(&union, numbered(11))).await;
        assert_eq!(send, [("publish", 2)].into(), "{mode}: one for each of several groups");
        let local = Audience::from(group("both")).local_only();
        let send = cost(&server, one.group_send(&local, numbered(12))).await;
        assert_eq!(send, Counts::default(), "{mode}: within the process");
        for (members, last) in [(&mut near, 12), (&mut far, 11)] {
            for member in members {
                while number(&next(member).await) != last {}
            }
        }
    }
}

#[tokio::test]
async fn direct_message_costs_one_command() {
    let server = Server::start();
    for (mode, command) in [("native", "publish"), ("pubsub", "publish"), ("core", "evalsha")] {
        let (one, two) = pair(&server, &format!("mode={mode}&prefix={mode}")).await;
        let (mut near, mut far) = (one.new_channel().await.unwrap(), two.new_channel().await.unwrap());
        one.send(far.channel(), numbered(0)).await.unwrap(); // the server learns the script
        let send = cost(&server, async {
            for n in 1..=10 {
                one.send(far.channel(), numbered(n)).await.expect("Redis is up");
            }
        })
        .await;
        assert_eq!(send, [(command, 10)].into(), "{mode}: to another process");
        for n in 0..=10 {
            assert_eq!(number(&next(&mut far).await), n, "{mode}");
        }
        let send = cost(&server, one.send(near.channel(), numbered(11))).await;
        assert_eq!(send, Counts::default(), "{mode}: within the process");
        assert_eq!(number(&next(&mut near).await), 11, "{mode}");
    }
}

#[tokio::test]
async fn named_message_costs_one_command() {
    let server = Server::start();
    let jobs: ChannelName = "jobs".parse().unwrap();
    for (mode, command) in [("native", "evalsha"), ("core", "evalsha"), ("pubsub", "publish")] {
        let (one, _) = pair(&server, &format!("mode={mode}&prefix={mode}")).await;
        one.send(&jobs, numbered(0)).await.unwrap(); // the server learns the script
        let send = cost(&server, async {
            for n in 1..=10 {
                one.send(&jobs, numbered(n)).await.expect("there is room");
            }
        })
        .await;
        assert_eq!(send, [(command, 10)].into(), "{mode}");
    }
}

#[tokio::test]
async fn foreign_add_costs_a_request() {
    let server = Server::start();
    let (one, two) = pair(&server, "mode=native").await;
    let mailbox = two.new_channel().await.unwrap();
    let join = cost(&server, one.join("g", mailbox.channel())).await;
    assert_eq!(join, [("publish", 2), ("subscribe", 1)].into());
    let again = cost(&server, one.join("g", mailbox.channel())).await;
    assert_eq!(again, [("publish", 2)].into());
    let leave = cost(&server, one.leave("g", mailbox.channel())).await;
    assert_eq!(leave, [("publish", 2)].into());
}

#[tokio::test]
async fn named_member_costs_one_subscribe() {
    let server = Server::start();
    let (one, _) = pair(&server, "mode=native").await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    let join = cost(&server, async {
        for _ in 0..3 {
            one.join("g", &jobs).await.expect("a member");
        }
    })
    .await;
    assert_eq!(join, [("subscribe", 1)].into());
}

#[tokio::test]
async fn core_membership_costs_one_command() {
    let server = Server::start();
    let (one, _) = pair(&server, "mode=core").await;
    let members = mailboxes(&one, 3).await;
    one.join("warm", members[0].channel()).await.unwrap(); // the server learns the script
    let join = cost(&server, async {
        for member in &members {
            join_each(&one, member).await;
        }
        join_each(&one, &members[0]).await; // renews the membership
    })
    .await;
    assert_eq!(join, [("evalsha", 4 * GROUPS)].into());
    let leave = cost(&server, leave_each(&one, &members[0])).await;
    assert_eq!(leave, [("zrem", GROUPS)].into());
    let leave = cost(&server, one.group_discard_all(members[1].channel())).await;
    assert_eq!(leave, [("zrem", GROUPS)].into());
}

#[tokio::test]
async fn core_group_message_costs_two() {
    let server = Server::start();
    let (one, two) = pair(&server, "mode=core&capacity=1000").await;
    let (near, far) = (mailboxes(&one, 3).await, mailboxes(&two, 3).await);
    for (near, far) in near.iter().zip(&far) {
        one.join("g", near.channel()).await.unwrap();
        two.join("g", far.channel()).await.unwrap();
    }
    let _ = one.group_send_message("g", numbered(0)).await.unwrap(); // the server learns the script
    let send = cost(&server, async {
        for n in 0..10 {
            let _ = one.group_send_message("g", numbered(n)).await.expect("Redis is up");
        }
    })
    .await;
    assert_eq!(send, [("eval", 10), ("evalsha", 10)].into());
}
