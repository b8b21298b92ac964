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
    Audience, ChannelLayer, ChannelLayerExt, ChannelName, LayerConfig, MailboxOptions, MemoryLayer, Message,
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
        let redis = group_sends(Arc::new(layer(&server.address()).await)).await;
        println!("fan-out to 1,000: memory {memory:.0}/s, Redis {redis:.0}/s, ratio {:.2}", redis / memory);
    }
}

/// Messages a second that members have received: what a full mailbox refuses does not count.
async fn group_sends(layer: Arc<dyn ChannelLayer>) -> f64 {
    let mut members = JoinSet::new();
    let received = Arc::new(AtomicU64::new(0));
    for _ in 0..1000 {
        let options = MailboxOptions::default().with_capacity(10_000).with_byte_capacity(64 << 20);
        let mut mailbox = layer.open(options).await.expect("a mailbox");
        layer.join("room", mailbox.channel()).await.expect("a member");
        let received = received.clone();
        members.spawn(async move {
            let mut messages = Vec::new();
            loop {
                std::future::poll_fn(|cx| mailbox.poll_ready(cx)).await;
                mailbox.drain_into(&mut messages);
                received.fetch_add(messages.len() as u64, Relaxed);
                messages.clear();
            }
        });
    }
    let shared = layer.clone();
    let rate = rate(64, received, move |_| {
        let layer = shared.clone();
        async move {
            let message = Message::new("chat.message").with("text", "x".repeat(64));
            let _ = layer.group_send_message("room", message).await.expect("all is well");
        }
    });
    let rate = rate.await / 1000.0;
    members.shutdown().await;
    layer.close().await.expect("it can be closed");
    rate
}

/// 512 tasks that publish, against `redis-benchmark -P 500`.
async fn publish() {
    let server = Server::start();
    let rooms: Arc<[Audience]> = (0..100).map(|n| support::group(&format!("room-{n}")).into()).collect();
    for _ in 0..3 {
        let layer = Arc::new(layer(&server.address()).await);
        let (shared, rooms) = (layer.clone(), rooms.clone());
        let before = cpu_seconds();
        let sent = Arc::new(AtomicU64::new(0));
        let count = sent.clone();
        let ours = rate(512, sent, move |task| {
            let (layer, rooms) = (shared.clone(), rooms.clone());
            let sent = count.clone();
            async move {
                let message = Message::new("chat.message").with("text", "x".repeat(40));
                let _ = layer.group_send(&rooms[task % 100], message).await.expect("all is well");
                sent.fetch_add(1, Relaxed);
            }
        })
        .await;
        let cpu = (cpu_seconds() - before) * 1e6 / layer.stats().published as f64;
        layer.close().await.expect("it can be closed");
        let theirs = redis_benchmark(server.port);
        println!(
            "publish: redis-benchmark -P 500 {theirs:.0}/s, 512 tasks {ours:.0}/s, ratio {:.2}, {cpu:.2} us of our CPU each",
            ours / theirs
        );
    }
}

/// What this process has used, where the system tells.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(' ').rev().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
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

/// How fast a count grows while so many tasks do something over and over.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    tasks: usize,
    count: Arc<AtomicU64>,
    make: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let make = make.clone();
        running.spawn(async move {
            loop {
                make(task).await;
                // As in a program with connections, where everybody has a turn.
                tokio::task::consume_budget().await;
            }
        });
    }
    sleep(Duration::from_millis(500)).await;
    let (before, started) = (count.load(Relaxed), Instant::now());
    sleep(MEASURED).await;
    let rate = (count.load(Relaxed) - before) as f64 / started.elapsed().as_secs_f64();
    running.shutdown().await;
    rate
}
