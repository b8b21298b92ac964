//! Extreme settings.

mod dialects;
mod support;

use std::time::Duration;

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName, Error};
use channel_layer_redis::{RedisConfig, RedisLayer};
use serde_json::json;
use support::{layer, next, number, numbered, python::Python, server::Server};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn extreme_settings_are_bounded() {
    let server = Server::start();
    let extremes = [(Duration::MAX, usize::MAX), (Duration::ZERO, 0)];
    for (mode, (time, bytes)) in ["native", "core", "pubsub"].into_iter().zip(extremes.into_iter().cycle()) {
        let config: RedisConfig = format!("{}?mode={mode}", server.address()).parse().unwrap();
        let long = Duration::MAX;
        let config =
            config.with_expiry(long).with_group_expiry(long).with_timeout(long).with_connect_timeout(long);
        let config = config.with_heartbeat(time).with_probe(time).with_linger(time).with_max_message(bytes);
        let one = RedisLayer::open(config).await.unwrap();
        let mut mailbox = one.new_channel().await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        let _ = one.group_send_message("g", numbered(1)).await.unwrap();
        assert_eq!(number(&next(&mut mailbox).await), 1, "{mode}");
        if mode != "pubsub" {
            let jobs: ChannelName = "jobs".parse().unwrap();
            one.send(&jobs, numbered(2)).await.unwrap();
            let job = timeout(support::PATIENCE, one.receive(&jobs)).await.unwrap();
            assert_eq!(number(&job.unwrap()), 2, "{mode}");
        }
        one.leave("g", mailbox.channel()).await.unwrap();
        one.health().await.unwrap();
        one.close().await.unwrap();
    }
}

/// Prefixes that channels_redis 4.3 accepts.
fn prefixes() -> Vec<String> {
    let short = [
        "",
        "asgi",
        "channels:",
        "app:ws",
        "a b",
        "a*[b]?",
        "{shop}",
        "é",
        "a!b",
        "a\"b\\",
        "\r\n",
        ":g:",
        "%",
    ];
    let long = [58, 59, 95, 200].map(|letters| "x".repeat(letters));
    short.map(str::to_owned).into_iter().chain(long).collect()
}

fn with_prefix(server: &Server, mode: &str, prefix: &str) -> String {
    let prefix = percent_encoding::utf8_percent_encode(prefix, percent_encoding::NON_ALPHANUMERIC);
    format!("{}?mode={mode}&prefix={prefix}", server.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_prefix_works_in_every_mode() {
    let server = Server::start();
    let jobs: ChannelName = "jobs".parse().unwrap();
    for mode in ["native", "core", "pubsub"] {
        let beside = layer(&with_prefix(&server, mode, "beside")).await;
        beside.send(&jobs, numbered(7)).await.unwrap();
        for prefix in prefixes() {
            let address = with_prefix(&server, mode, &prefix);
            let (one, two) = (layer(&address).await, layer(&address).await);
            let mut mailbox = one.new_channel().await.unwrap();
            one.join("room", mailbox.channel()).await.unwrap();
            two.send(mailbox.channel(), numbered(1)).await.unwrap();
            assert_eq!(number(&next(&mut mailbox).await), 1, "{mode} {prefix:?}");
            let _ = two.group_send_message("room", numbered(2)).await.unwrap();
            assert_eq!(number(&next(&mut mailbox).await), 2, "{mode} {prefix:?}");
            if mode != "pubsub" {
                two.send(&jobs, numbered(3)).await.unwrap();
                let job = timeout(support::PATIENCE, one.receive(&jobs)).await.unwrap();
                assert_eq!(number(&job.unwrap()), 3, "{mode} {prefix:?}");
            }
            if !prefix.is_empty() {
                one.flush().await.unwrap();
            }
            assert_eq!(one.stats().unreadable + two.stats().unreadable, 0);
        }
        if mode != "pubsub" {
            let job = timeout(support::PATIENCE, beside.receive(&jobs)).await.unwrap();
            assert_eq!(number(&job.unwrap()), 7, "{mode}: a flush of others takes nothing from here");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_equal_pythons() {
    let server = Server::start();
    for (mode, prefix) in [("pubsub", "channels:"), ("pubsub", &"x".repeat(95)), ("core", "a b:")] {
        let config = json!({"hosts": [server.address()], "prefix": prefix});
        let mut python = Python::layer(mode, &config).await;
        let rust = layer(&with_prefix(&server, mode, prefix)).await;
        let (mut ours, theirs) = (rust.new_channel().await.unwrap(), python.new_channel().await);
        rust.join("room", ours.channel()).await.unwrap();
        python.call("group_add", json!(["room", theirs])).await;
        python.call("send", json!([ours.channel().as_str(), {"type": "a", "n": 1}])).await;
        assert_eq!(number(&next(&mut ours).await), 1, "{mode} {prefix:?}");
        python.call("group_send", json!(["room", {"type": "a", "n": 2}])).await;
        assert_eq!(number(&next(&mut ours).await), 2, "{mode} {prefix:?}");
        // Python does not wait for the confirmation of its subscription, and drops a channel whose receiver ends.
        let sending = async {
            loop {
                let _ = rust.group_send_message("room", numbered(3)).await.unwrap();
                sleep(Duration::from_millis(50)).await;
            }
        };
        let heard = tokio::select! {
            heard = python.receive(&theirs, 20.0) => heard.is_some(),
            () = sending => unreachable!("it sends forever"),
        };
        assert!(heard, "{mode} {prefix:?}");
    }
}

#[tokio::test]
async fn an_option_that_is_no_utf8_is_refused_by_name() {
    for option in ["prefix", "symmetric_encryption_keys", "host"] {
        let refused = format!("redis://h?mode=pubsub&{option}=%FF").parse::<RedisConfig>().unwrap_err();
        assert!(matches!(refused, Error::Config(_)) && refused.to_string().contains(option), "{refused}");
    }
}
