//! A message to many: a group of mailboxes, next to a loop of `try_send` over tokio's channels.
//!
//! Every receiver is a task that waits; an iteration ends when the last one has the message.

#![allow(missing_docs)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use channel_layer::{Audience, ChannelLayer, ChannelLayerExt, MemoryLayer, Message};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{broadcast, mpsc},
    task::{JoinSet, yield_now},
};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn message() -> Message {
    let message = Message::new("chat.message").with("text", "x".repeat(200));
    assert_eq!(message.size().div_ceil(10), 23, "about 230 bytes");
    message
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// How many messages the tasks have received.
#[derive(Clone, Default)]
struct Received(Arc<AtomicUsize>);

impl Received {
    async fn until(&self, count: usize) {
        while self.0.load(Relaxed) < count {
            yield_now().await;
        }
        self.0.store(0, Relaxed);
    }
}

async fn timed(iterations: u64, members: usize, received: &Received, mut send: impl AsyncFnMut()) -> Duration {
    yield_now().await; // every task has begun to wait
    let began = Instant::now();
    for _ in 0..iterations {
        send().await;
        received.until(members).await;
    }
    began.elapsed()
}

fn group_send(runtime: &Runtime, members: usize, iterations: u64) -> Duration {
    runtime.block_on(async {
        let (layer, received, mut tasks) = (MemoryLayer::default(), Received::default(), JoinSet::new());
        for _ in 0..members {
            let mut mailbox = layer.new_channel().await.unwrap();
            layer.join("room", mailbox.channel()).await.unwrap();
            let received = received.clone();
            tasks.spawn(async move {
                loop {
                    std::hint::black_box(mailbox.recv().await);
                    received.0.fetch_add(1, Relaxed);
                }
            });
        }
        let (room, message) = (Audience::from(channel_layer::GroupName::new("room").unwrap()), message());
        timed(iterations, members, &received, async || {
            let report = layer.group_send(&room, message.clone()).await.unwrap();
            assert_eq!(report.local.delivered, members);
        })
        .await
    })
}

fn mpsc_loop(runtime: &Runtime, members: usize, iterations: u64) -> Duration {
    runtime.block_on(async {
        let (mut senders, received, mut tasks) = (Vec::new(), Received::default(), JoinSet::new());
        for _ in 0..members {
            let (sender, mut receiver) = mpsc::channel::<Message>(100);
            senders.push(sender);
            let received = received.clone();
            tasks.spawn(async move {
                while let Some(message) = receiver.recv().await {
                    std::hint::black_box(message);
                    received.0.fetch_add(1, Relaxed);
                }
            });
        }
        let message = message();
        timed(iterations, members, &received, async || {
            for sender in &senders {
                sender.try_send(message.clone()).unwrap();
            }
        })
        .await
    })
}

fn broadcast_channel(runtime: &Runtime, members: usize, iterations: u64) -> Duration {
    runtime.block_on(async {
        let (sender, _) = broadcast::channel::<Message>(100);
        let (received, mut tasks) = (Received::default(), JoinSet::new());
        for _ in 0..members {
            let (mut receiver, received) = (sender.subscribe(), received.clone());
            tasks.spawn(async move {
                while let Ok(message) = receiver.recv().await {
                    std::hint::black_box(message);
                    received.0.fetch_add(1, Relaxed);
                }
            });
        }
        let message = message();
        timed(iterations, members, &received, async || {
            sender.send(message.clone()).unwrap();
        })
        .await
    })
}

fn fan_out(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("fan_out");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    for members in SIZES {
        group.throughput(Throughput::Elements(members as u64));
        let mut bench = |name: &str, run: fn(&Runtime, usize, u64) -> Duration| {
            group.bench_function(BenchmarkId::new(name, members), |bencher| {
                bencher.iter_custom(|iterations| run(&runtime, members, iterations));
            });
        };
        bench("mpsc_try_send_loop", mpsc_loop);
        bench("group_send", group_send);
        bench("broadcast", broadcast_channel);
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
