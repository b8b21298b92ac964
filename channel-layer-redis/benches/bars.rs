//! The figures that this crate is held to, each beside what it is compared with, in one run: machines are shared
//! and noisy, so only the ratios say something. Needs redis-server and redis-benchmark.
//!
//! `cargo bench -p channel-layer-redis`, with `-- fan-out`, `-- publish` or `-- workers` for one of them.

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::{
    ChannelLayer, ChannelLayerExt, ChannelName, LayerConfig, MailboxOptions, MemoryLayer, Message,
};
use support::{layer, server::Server};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

const MEASURED: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if wants("fan-out") {
        fan_out().await;
    }
    if wants("publish") {
        publish().await;
    }
    if wants("workers") {
        workers().await;
    }
}

/// 1,000 members in one process, 64 messages in flight, against the layer in memory.
async fn fan_out() {
    let server = Server::start();
    for _ in 0..3 {
        let memory = group_sends(Arc::new(MemoryLayer::new(LayerConfig::default()))).await;
        let before = server.cli(&["info", "commandstats"]);
        let redis = group_sends(Arc::new(layer(&server.address()).await)).await;
        drop(before);
        println!("fan-out to 1,000: memory {memory:.0}/s, Redis {redis:.0}/s, ratio {:.2}", redis / memory);
    }
}

async fn group_sends(layer: Arc<dyn ChannelLayer>) -> f64 {
    let mut members = JoinSet::new();
    for _ in 0..1000 {
        let options = MailboxOptions::default().with_capacity(10_000).with_byte_capacity(64 << 20);
        let mut mailbox = layer.open(options).await.expect("a mailbox");
        layer.join("room", mailbox.channel()).await.expect("a member");
        members.spawn(async move {
            let mut messages = Vec::new();
            loop {
                std::future::poll_fn(|cx| mailbox.poll_ready(cx)).await;
                mailbox.drain_into(&mut messages);
                messages.clear();
            }
        });
    }
    let rate = rate(64, move |_| {
        let layer = layer.clone();
        async move {
            let message = Message::new("chat.message").with("text", "x".repeat(64));
            let report = layer.group_send_message("room", message).await.expect("all is well");
            assert_eq!(report.local.delivered, 1000);
        }
    });
    let rate = rate.await;
    members.shutdown().await;
    layer.close().await.expect("it can be closed");
    rate
}

/// 512 tasks that publish, against `redis-benchmark -P 500`.
async fn publish() {
    let server = Server::start();
    for _ in 0..3 {
        let layer = Arc::new(layer(&server.address()).await);
        let ours = rate(512, move |task| {
            let layer = layer.clone();
            async move {
                let message = Message::new("chat.message").with("text", "x".repeat(40));
                let group = format!("room-{}", task % 100);
                let _ = layer.group_send_message(group, message).await.expect("all is well");
            }
        })
        .await;
        layer.close().await.expect("it can be closed");
        let theirs = redis_benchmark(server.port);
        println!(
            "publish: redis-benchmark -P 500 {theirs:.0}/s, 512 tasks {ours:.0}/s, ratio {:.2}",
            ours / theirs
        );
    }
}

fn redis_benchmark(port: u16) -> f64 {
    let payload = "x".repeat(128);
    let output = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-P", "500", "-n", "3000000", "--csv", "publish", "room", &payload])
        .output()
        .expect("redis-benchmark is in the PATH");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().expect("a line of figures");
    line.split(',')
        .rev()
        .find_map(|field| field.trim_matches('"').parse::<f64>().ok().filter(|rate| *rate > 1000.0))
        .expect("a rate")
}

/// Three workers on one named channel.
async fn workers() {
    let server = Server::start();
    let address = server.address() + "?capacity=100000";
    let jobs: ChannelName = "jobs".parse().expect("a valid name");
    let sender = layer(&address).await;
    let received = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let (layer, jobs, received) = (layer(&address).await, jobs.clone(), received.clone());
        tasks.spawn(async move {
            loop {
                layer.receive(&jobs).await.expect("all is well");
                received.fetch_add(1, Relaxed);
            }
        });
    }
    let started = Instant::now();
    for _ in 0..20_000 {
        sender.send(&jobs, Message::new("job")).await.expect("there is room");
    }
    let sent = started.elapsed();
    while received.load(Relaxed) < 20_000 {
        sleep(Duration::from_millis(1)).await;
    }
    println!(
        "workers: 20,000 jobs sent one by one in {sent:.2?}, all received after {:.2?}",
        started.elapsed()
    );
}

/// How often a second so many tasks get through something.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    tasks: usize,
    make: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (done, make) = (done.clone(), make.clone());
        running.spawn(async move {
            loop {
                make(task).await;
                done.fetch_add(1, Relaxed);
            }
        });
    }
    sleep(Duration::from_millis(500)).await;
    let (before, started) = (done.load(Relaxed), Instant::now());
    sleep(MEASURED).await;
    let rate = (done.load(Relaxed) - before) as f64 / started.elapsed().as_secs_f64();
    running.shutdown().await;
    rate
}
