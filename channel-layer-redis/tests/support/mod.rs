//! Servers, a proxy and an oracle for the tests. Every process ends with its handle.
#![allow(dead_code, reason = "each test binary uses its share")]

pub(crate) mod dialect;
pub(crate) mod harness;
pub(crate) mod oracle;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod sentinel;
pub(crate) mod server;
#[cfg(feature = "sessions")]
pub(crate) mod sessions;

use std::{future::Future, time::Duration};

use channel_layer::{GroupName, Mailbox, Message};
use channel_layer_redis::{RedisConfig, RedisLayer};
use tokio::time::{Instant, sleep, timeout};

/// The deadline of tests, long enough for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn numbered(n: i64) -> Message {
    Message::new("test.numbered").with("n", n)
}

pub(crate) fn number(message: &Message) -> i64 {
    message.get("n").and_then(|n| n.as_i64()).expect("a numbered message")
}

pub(crate) fn group(name: &str) -> GroupName {
    name.parse().expect("a valid name")
}

pub(crate) async fn layer(address: &str) -> RedisLayer {
    let config: RedisConfig = address.parse().expect("a valid address");
    RedisLayer::open(config).await.expect("Redis is up")
}

/// The next message.
pub(crate) async fn next(mailbox: &mut Mailbox) -> Message {
    timeout(PATIENCE, mailbox.recv()).await.expect("a message in time")
}

/// Whether no message arrives for a while. Meaningful only if an unwanted one had time to arrive before.
pub(crate) async fn is_silent(mailbox: &mut Mailbox) -> bool {
    timeout(Duration::from_millis(100), mailbox.recv()).await.is_err()
}

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn log() {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
}
