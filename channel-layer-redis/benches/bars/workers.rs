//! Workers on a named channel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelName, Message};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::support::{layer, server::Server};

/// Three workers on one named channel.
pub(crate) async fn run() {
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
                layer.receive(&jobs).await.expect("Redis is up");
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
