//! Publishing from many tasks, against `redis-benchmark`.
//!
//! Both sides publish 128 bytes on a channel of 14 to one server without subscribers.
//! `redis-benchmark -P 500` is one thread with 50 clients (the default). It has 25,000 commands in flight, all with the same
//! bytes, and reads no reply. Our side is 512 tasks with one message in flight: each builds and encodes its message, and
//! waits for its reply. Measured on one thread, as `redis-benchmark` has, and on two.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use channel_layer::{Audience, ChannelLayer, Message};
use channel_layer_redis::RedisLayer;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    MEASURED, REPETITIONS, Served, median,
    support::{self, layer, server::Server},
};

const TASKS: usize = 512;
/// All have names of the same length.
const ROOMS: std::ops::Range<usize> = 10..100;
/// A text that makes the payload one of [`PAYLOAD`] bytes.
const TEXT: usize = 62;
const PAYLOAD: usize = 128;
/// The number of its commands, which take about as long as ours.
const THEIR_COMMANDS: &str = "3000000";

pub(crate) async fn run(threads: &str) {
    let server = Server::start();
    let layer = Arc::new(layer(&server.address()).await);
    let mut ratios = Vec::new();
    for _ in 0..REPETITIONS {
        let (ours, our_cost) = ours(&layer, &server).await;
        let (theirs, their_cost) = theirs(&server);
        ratios.push(ours / theirs);
        println!(
            "publish, {threads}: {TASKS} tasks {ours:.0}/s ({our_cost}), redis-benchmark -P 500 {theirs:.0}/s ({their_cost}), ratio {:.2}",
            ours / theirs
        );
    }
    layer.close().await.expect("it can be closed");
    println!("publish, {threads}: median ratio {:.2}", median(&ratios));
}

async fn ours(layer: &Arc<RedisLayer>, server: &Server) -> (f64, String) {
    let rooms: Arc<[Audience]> = ROOMS.map(|n| support::group(&format!("room-{n}")).into()).collect();
    let (accepted, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (before, cpu) = (Served::by(server), cpu_seconds());
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for task in 0..TASKS {
        let (layer, rooms, accepted, stop) = (layer.clone(), rooms.clone(), accepted.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.load(Relaxed) {
                let message = Message::new("chat.message").with("text", "x".repeat(TEXT));
                let _ = layer.group_send(&rooms[task % rooms.len()], message).await.expect("Redis is up");
                accepted.fetch_add(1, Relaxed);
            }
        });
    }
    sleep(MEASURED).await;
    let rate = accepted.load(Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Relaxed);
    while tasks.join_next().await.is_some() {}
    let cpu = (cpu_seconds() - cpu) * 1e6 / accepted.load(Relaxed) as f64;
    let served = Served::by(server).since(&before);
    // The heartbeats and probes of the layer are negligible.
    let count = served.publishes.abs_diff(accepted.load(Relaxed));
    assert!(count <= 2, "each message is one command: {count} more or less");
    (rate, format!("{cpu:.2} us of our time each, {}", cost(&served)))
}

fn theirs(server: &Server) -> (f64, String) {
    let before = Served::by(server);
    let output = Command::new("redis-benchmark")
        .args(["-p", &server.port.to_string(), "-P", "500", "-n", THEIR_COMMANDS, "--csv"])
        .args(["publish", "asgi:g:room-10", &"x".repeat(PAYLOAD)])
        .output()
        .expect("redis-benchmark is in the PATH");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().expect("a line of figures");
    let rate = line.split(',').nth(1).and_then(|field| field.trim_matches('"').parse().ok());
    (rate.expect("a rate"), cost(&Served::by(server).since(&before)))
}

/// The time of the server and the bytes per command.
fn cost(served: &Served) -> String {
    let each = served.publishes as f64;
    format!("{:.2} us of the server's, {:.0} bytes", served.seconds * 1e6 / each, served.bytes as f64 / each)
}

/// The processor time of this process, if the system reports it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
