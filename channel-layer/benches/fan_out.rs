//! A message to many: a group of mailboxes, next to a loop of `try_send` over tokio's channels.
//!
//! Every receiver is a task that waits; an iteration ends when the last one has the message.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use channel_layer::{
    Audience, ChannelLayer, ChannelLayerExt, GroupName, MemoryLayer, Message, Selection, Tag,
    hub::{FanOut, Hub},
    mailbox::{Bounds, Delivery},
};
use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
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

/// The number of messages that the tasks have received.
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

/// Sends one message to all members, which are tasks on the runtime until the `JoinSet` is dropped.
type Sender = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

fn room() -> Arc<Audience> {
    Arc::new(Audience::from(GroupName::new("room").unwrap()))
}

/// A layer whose members are tasks.
fn layer(
    members: usize,
    received: &Received,
    tasks: &mut JoinSet<()>,
    runtime: &Runtime,
) -> Arc<MemoryLayer> {
    let layer = Arc::new(MemoryLayer::default());
    for _ in 0..members {
        let mut mailbox = runtime.block_on(layer.new_channel()).unwrap();
        runtime.block_on(layer.join("room", mailbox.channel())).unwrap();
        let received = received.clone();
        tasks.spawn_on(
            async move {
                loop {
                    std::hint::black_box(mailbox.recv().await);
                    received.0.fetch_add(1, Relaxed);
                }
            },
            runtime.handle(),
        );
    }
    layer
}

fn group_send(members: usize, received: &Received, tasks: &mut JoinSet<()>, runtime: &Runtime) -> Sender {
    let layer = layer(members, received, tasks, runtime);
    let (room, message) = (room(), message());
    Arc::new(move || {
        let (layer, room, message) = (layer.clone(), room.clone(), message.clone());
        Box::pin(async move {
            let report = layer.group_send(&room, message).await.unwrap();
            assert_eq!(report.local.delivered, members);
        })
    })
}

/// Messages that came in over a network together.
fn burst(members: usize, received: &Received, tasks: &mut JoinSet<()>, runtime: &Runtime) -> Sender {
    let hub = layer(members, received, tasks, runtime).hub().clone();
    let (room, message) = (room(), message());
    Arc::new(move || {
        let (hub, room, message) = (hub.clone(), room.clone(), message.clone());
        Box::pin(async move {
            let sends = vec![Delivery { message, expires: expires() }; FanOut::TOGETHER];
            hub.fan_out_all(room.groups(), sends.into_iter().map(Into::into).collect()).finish();
        })
    })
}

fn one_by_one(members: usize, received: &Received, tasks: &mut JoinSet<()>, runtime: &Runtime) -> Sender {
    let hub = layer(members, received, tasks, runtime).hub().clone();
    let (room, message) = (room(), message());
    Arc::new(move || {
        let (hub, room, message) = (hub.clone(), room.clone(), message.clone());
        Box::pin(async move {
            for _ in 0..FanOut::TOGETHER {
                assert_eq!(hub.fan_out(&room, message.clone(), expires()).finish().delivered, members);
            }
        })
    })
}

fn expires() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(60)
}

fn mpsc_loop(members: usize, received: &Received, tasks: &mut JoinSet<()>, runtime: &Runtime) -> Sender {
    let mut senders = Vec::new();
    for _ in 0..members {
        let (sender, mut receiver) = mpsc::channel::<Message>(100);
        senders.push(sender);
        let received = received.clone();
        tasks.spawn_on(
            async move {
                while let Some(message) = receiver.recv().await {
                    std::hint::black_box(message);
                    received.0.fetch_add(1, Relaxed);
                }
            },
            runtime.handle(),
        );
    }
    let (senders, message) = (Arc::new(senders), message());
    Arc::new(move || {
        let (senders, message) = (senders.clone(), message.clone());
        Box::pin(async move {
            for sender in &*senders {
                sender.try_send(message.clone()).unwrap();
            }
        })
    })
}

fn broadcast_channel(
    members: usize,
    received: &Received,
    tasks: &mut JoinSet<()>,
    runtime: &Runtime,
) -> Sender {
    let (sender, _) = broadcast::channel::<Message>(100);
    for _ in 0..members {
        let (mut receiver, received) = (sender.subscribe(), received.clone());
        tasks.spawn_on(
            async move {
                while let Ok(message) = receiver.recv().await {
                    std::hint::black_box(message);
                    received.0.fetch_add(1, Relaxed);
                }
            },
            runtime.handle(),
        );
    }
    let message = message();
    Arc::new(move || {
        let (sender, message) = (sender.clone(), message.clone());
        Box::pin(async move {
            sender.send(message).unwrap();
        })
    })
}

type Setup = fn(usize, &Received, &mut JoinSet<()>, &Runtime) -> Sender;

/// Sets the members up once, so that what they leave in the allocator's lists is not measured with them.
fn measure(bencher: &mut Bencher<'_>, members: usize, messages: usize, setup: Setup) {
    let (runtime, received, mut tasks) = (runtime(), Received::default(), JoinSet::new());
    let send = setup(members, &received, &mut tasks, &runtime);
    // The sender is a task as well, as in a server.
    let round = |iterations: u64| {
        let (send, received) = (send.clone(), received.clone());
        let sender = runtime.spawn(async move {
            for _ in 0..iterations {
                send().await;
                received.until(members * messages).await;
            }
        });
        runtime.block_on(sender).unwrap();
    };
    round(1); // afterwards every task waits
    bencher.iter_custom(|iterations| {
        let began = Instant::now();
        round(iterations);
        began.elapsed()
    });
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan_out");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    for members in SIZES {
        group.throughput(Throughput::Elements(members as u64));
        let mut bench = |name: &str, setup: Setup| {
            group.bench_function(BenchmarkId::new(name, members), |bencher| {
                measure(bencher, members, 1, setup);
            });
        };
        bench("mpsc_try_send_loop", mpsc_loop);
        bench("group_send", group_send);
        bench("broadcast", broadcast_channel);
    }
    group.finish();
}

fn bursts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bursts");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    let members = SIZES[0];
    group.throughput(Throughput::Elements((members * FanOut::TOGETHER) as u64));
    for (name, setup) in [("one_by_one", one_by_one as Setup), ("burst", burst)] {
        group.bench_function(name, |bencher| measure(bencher, members, FanOut::TOGETHER, setup));
    }
    group.finish();
}

/// The filters of a group's members.
const FILTERS: usize = 10;

/// A fan-out to members without tasks, whose mailboxes are emptied outside of the measured time. The k-th member in ten
/// selects by the k-th filter, and the tag `only` of the message says which filter matches, or all.
fn measure_selections(bencher: &mut Bencher<'_>, with_filters: bool, only: Option<usize>) {
    let (hub, room) = (Hub::new(), GroupName::new("room").unwrap());
    let bounds = Bounds { messages: 100, bytes: 1 << 20 };
    let mut mailboxes: Vec<_> =
        (0..SIZES[1]).map(|n| hub.open(format!("m!{n}").parse().unwrap(), bounds).unwrap()).collect();
    for (n, mailbox) in mailboxes.iter().enumerate() {
        let k = n % FILTERS;
        let filter = Tag::new("all").is(true).or(Tag::new("only").is(k)).try_into().unwrap();
        let selection = if with_filters { Selection::Where(filter) } else { Selection::All };
        assert!(hub.join_selecting(&room, mailbox.channel(), &selection));
    }
    let tagged = match only {
        Some(k) => message().with_tag("only", k),
        None => message().with_tag("all", true),
    };
    let room = Audience::from(room);
    let expected = if only.is_some() && with_filters { SIZES[1] / FILTERS } else { SIZES[1] };
    bencher.iter_custom(|iterations| {
        let mut elapsed = Duration::ZERO;
        for _ in 0..iterations {
            // A new message, as each has its filters evaluated.
            let message = tagged.clone().with("n", 1);
            let began = Instant::now();
            let deliveries = hub.fan_out(&room, message, expires()).finish();
            elapsed += began.elapsed();
            assert_eq!(deliveries.delivered, expected);
            mailboxes.iter_mut().for_each(|mailbox| drop(mailbox.try_recv()));
        }
        elapsed
    });
}

fn selections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("selections");
    group.sample_size(50).measurement_time(Duration::from_secs(4));
    group.throughput(Throughput::Elements(SIZES[1] as u64));
    group.bench_function("unfiltered", |bencher| measure_selections(bencher, false, None));
    group.bench_function("ten_filters_all_match", |bencher| measure_selections(bencher, true, None));
    group.bench_function("ten_filters_one_matches", |bencher| measure_selections(bencher, true, Some(3)));
    group.bench_function("unfiltered_again", |bencher| measure_selections(bencher, false, None));
    group.finish();
}

criterion_group!(benches, fan_out, bursts, selections);
criterion_main!(benches);
