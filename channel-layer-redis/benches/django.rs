//! Benchmarks of the modes that Django understands: `pubsub` compared with `native`, `core` with Python's backend, in one run.
//! Needs redis-server and the Python environment of tests/run.sh.
//!
//! `cargo bench -p channel-layer-redis --bench django`

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelLayerExt, MailboxOptions, Message};
use serde_json::json;
use support::{layer, python::Python, server::Server};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

const MEMBERS: usize = 1000;
const MEASURED: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let server = Server::start();
    for _ in 0..3 {
        let native = group_sends(&server.address(), 64).await;
        let pubsub = group_sends(&(server.address() + "?mode=pubsub"), 64).await;
        println!(
            "group_send to {MEMBERS}, 64 in flight: native {native:.0}/s, pubsub {pubsub:.0}/s, ratio {:.2}",
            pubsub / native
        );
    }
    let config = json!({"hosts": [server.address()], "capacity": 1000, "prefix": "py"});
    let mut python = Python::layer("core", &config).await;
    for in_flight in [1, 64] {
        let theirs = python.call("rate", json!([format!("room-{in_flight}"), MEMBERS, 4])).await;
        let theirs = theirs.as_f64().expect("a rate");
        let ours = group_sends(&(server.address() + "?mode=core&capacity=1000"), in_flight).await;
        println!(
            "group_send to {MEMBERS}: Python core {theirs:.1}/s, ours with {in_flight} in flight {ours:.0}/s, ratio {:.0}",
            ours / theirs
        );
    }
}

/// Messages per second that reached all members.
async fn group_sends(address: &str, in_flight: usize) -> f64 {
    let layer = Arc::new(layer(address).await);
    let delivered = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..MEMBERS {
        let options = MailboxOptions::default().with_capacity(10_000).with_byte_capacity(64 << 20);
        let mut mailbox = layer.open(options).await.expect("a mailbox");
        layer.join("room", mailbox.channel()).await.expect("a member");
        let delivered = delivered.clone();
        tasks.spawn(async move {
            let mut messages = Vec::new();
            loop {
                poll_fn(|cx| mailbox.poll_ready(cx)).await;
                mailbox.drain_into(&mut messages);
                delivered.fetch_add(messages.len() as u64, Relaxed);
                messages.clear();
            }
        });
    }
    for _ in 0..in_flight {
        let layer = layer.clone();
        tasks.spawn(async move {
            loop {
                let message = Message::new("chat.message").with("text", "x".repeat(64));
                let report = layer.group_send_message("room", message).await.expect("Redis is up");
                assert_eq!(report.local.matched, MEMBERS);
            }
        });
    }
    sleep(Duration::from_millis(500)).await;
    let (before, started) = (delivered.load(Relaxed), Instant::now());
    sleep(MEASURED).await;
    let reached = (delivered.load(Relaxed) - before) as f64 / MEMBERS as f64;
    let rate = reached / started.elapsed().as_secs_f64();
    tasks.shutdown().await;
    layer.close().await.expect("it can be closed");
    rate
}
