//! The permissions of a Redis user in each mode, as documented for operators.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName, Error};
use channel_layer_redis::{RedisConfig, RedisLayer};
use tokio::time::timeout;

use crate::support::{PATIENCE, next, number, numbered, server::Server, until};

const PAGE: &str = include_str!("../../src/docs/operations.md");

/// Creates the documented user, with further rules, and returns an address with its login.
fn user(server: &Server, mode: &str, more: &[&str]) -> String {
    let start = format!("ACL SETUSER channels-{mode} ");
    let line = PAGE.lines().find(|line| line.starts_with(&start)).expect("the page has the mode");
    let line = line.replace("PREFIX", "shop").replace("PASSWORD", "secret");
    let words: Vec<_> = line.split(' ').chain(more.iter().copied()).collect();
    assert_eq!(server.cli(&words), "OK", "{line}");
    format!("redis://channels-{mode}:secret@127.0.0.1:{}/0?mode={mode}&prefix=shop&probe=50ms", server.port)
}

async fn used(layer: &RedisLayer, beside: &RedisLayer, mode: &str) {
    let mut mailbox = layer.new_channel().await.expect("it is allowed");
    layer.join("room", mailbox.channel()).await.expect("it is allowed");
    for from in [layer, beside] {
        let _ = from.group_send_message("room", numbered(1)).await.expect("it is allowed");
        assert_eq!(number(&next(&mut mailbox).await), 1, "{mode}");
        from.send(mailbox.channel(), numbered(2)).await.expect("it is allowed");
        assert_eq!(number(&next(&mut mailbox).await), 2, "{mode}");
    }
    layer.leave("room", mailbox.channel()).await.expect("it is allowed");
    if mode != "pubsub" {
        // A new one each time: a previous forwarder may keep its subscription for a moment.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let jobs: ChannelName =
            format!("jobs-{}", NEXT.fetch_add(1, Relaxed)).parse().expect("it is allowed");
        for n in 0..2 {
            let job = timeout(PATIENCE, layer.receive(&jobs));
            let (job, sent) = tokio::join!(job, beside.send(&jobs, numbered(n)));
            sent.expect("it is allowed");
            assert_eq!(number(&job.expect("it is allowed").expect("it is allowed")), n, "{mode}");
        }
        beside.join("workers", &jobs).await.expect("it is allowed");
        let _ = layer.group_send_message("workers", numbered(3)).await.expect("it is allowed");
        let job =
            timeout(PATIENCE, layer.receive(&jobs)).await.expect("it is allowed").expect("it is allowed");
        assert_eq!(number(&job), 3, "{mode}");
        // Returned, because there is no receiver.
        beside.send(&jobs, numbered(4)).await.expect("it is allowed");
    }
    layer.health().await.expect("it is allowed");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await; // some heartbeats and probes
    layer.flush().await.expect("it is allowed");
    layer.close().await.expect("it is allowed");
}

async fn is_enough(mode: &str) {
    let server = Server::start();
    let address = user(&server, mode, &[]);
    let config: RedisConfig = address.parse().expect("it is allowed");
    let config = config.with_heartbeat(std::time::Duration::from_millis(50));
    let (layer, beside) = (
        RedisLayer::open(config.clone()).await.expect("it is allowed"),
        RedisLayer::open(config).await.expect("it is allowed"),
    );
    used(&layer, &beside, mode).await;
    beside.close().await.expect("it is allowed");
    assert_eq!(server.cli(&["acl", "log"]), "", "{mode}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documented_acl_suffices_native() {
    is_enough("native").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documented_acl_suffices_core() {
    is_enough("core").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documented_acl_suffices_pubsub() {
    is_enough("pubsub").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_command_is_named() {
    let server = Server::start();
    let needed = [
        (
            "core",
            &[
                "publish",
                "subscribe",
                "eval",
                "evalsha",
                "zadd",
                "zrem",
                "zpopmin",
                "bzpopmin",
                "pexpire",
                "zcard",
                "zrange",
                "zremrangebyscore",
                "zscore",
                "pttl",
            ][..],
        ),
        ("native", &["publish", "subscribe"]),
        ("pubsub", &["publish", "subscribe"]),
    ];
    for (mode, commands) in needed {
        for command in commands {
            let address = user(&server, mode, &[&format!("-{command}")]);
            let error = RedisLayer::connect(&address).await.unwrap_err();
            let said = format!("{error:?}").to_lowercase();
            assert!(said.contains(command) && said.contains(mode), "{mode} without {command}: {said}");
            let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(reason.contains(&format!("mode {mode} needs")), "{mode} without {command}: {reason}");
        }
    }
}

/// Checks that a mode works without the commands that it does not require.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unneeded_commands_may_be_missing() {
    let server = Server::start();
    for mode in ["native", "core", "pubsub"] {
        for rule in ["-client", "-client|unblock", "-role", "-info"] {
            let address = user(&server, mode, &[rule]);
            let (layer, beside) =
                (RedisLayer::connect(&address).await.unwrap(), RedisLayer::connect(&address).await.unwrap());
            used(&layer, &beside, mode).await;
        }
    }
    let address = user(&server, "native", &["-eval", "-evalsha"]);
    let layer = RedisLayer::connect(&address).await.unwrap();
    let mut mailbox = layer.new_channel().await.unwrap();
    layer.join("room", mailbox.channel()).await.unwrap();
    let _ = layer.group_send_message("room", numbered(1)).await.unwrap();
    assert_eq!(number(&next(&mut mailbox).await), 1);
    let refused = layer.send(&"jobs".parse().unwrap(), numbered(1)).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Backend(reason) if reason.to_string().contains("evalsha")),
        "{refused:?}"
    );
}

/// Commands that administrators may rename.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed_admin_commands() {
    let renamed = ["INFO", "CONFIG", "CLIENT", "ROLE", "HELLO", "DEBUG"];
    let arguments: Vec<_> = renamed.iter().flat_map(|name| ["--rename-command", name, ""]).collect();
    let server = Server::start_with(&arguments);
    for mode in ["native", "core", "pubsub"] {
        let address = format!("{}?mode={mode}&prefix={mode}", server.address());
        let (layer, beside) =
            (RedisLayer::connect(&address).await.unwrap(), RedisLayer::connect(&address).await.unwrap());
        used(&layer, &beside, mode).await;
    }
    let server = Server::start_with(&["--rename-command", "EVALSHA", ""]);
    let error = RedisLayer::connect(&format!("{}?mode=core", server.address())).await.unwrap_err();
    let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(reason.contains("mode core needs EVALSHA"), "{reason}");
}

/// Reconnects both connections of the older protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resp2_subscriptions_reconnect() {
    let server = Server::start_with(&["--rename-command", "HELLO", ""]);
    for mode in ["native", "core", "pubsub"] {
        let address = user(&server, mode, &[]);
        let layer = RedisLayer::connect(&address).await.unwrap();
        let mut mailbox = layer.new_channel().await.unwrap();
        layer.join("room", mailbox.channel()).await.unwrap();
        for kind in ["pubsub", "normal"] {
            let before = layer.stats().reconnects;
            server.cli(&["client", "kill", "type", kind, "skipme", "yes"]);
            until("it is back", async || layer.stats().reconnects > before && layer.is_connected()).await;
            let _ = layer.group_send_message("room", numbered(1)).await.unwrap();
            assert_eq!(number(&next(&mut mailbox).await), 1, "{mode} after {kind}");
        }
    }
}
