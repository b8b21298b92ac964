//! A mailbox next to tokio's channels; and joining and leaving groups.

#![allow(missing_docs, clippy::unwrap_used)]

use channel_layer::{
    ChannelLayer, ChannelLayerExt, GroupName, MemoryLayer, Message,
    hub::Hub,
    mailbox::{Bounds, Delivery},
};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::{
    runtime::Builder,
    sync::{broadcast, mpsc},
    time::Instant,
};

fn message() -> Message {
    Message::new("chat.message").with("text", "x".repeat(200))
}

fn send_and_receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send_and_receive");
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let message = message();

    let (sender, mut receiver) = mpsc::channel::<Message>(100);
    group.bench_function("tokio_mpsc", |bencher| {
        bencher.iter(|| {
            sender.try_send(message.clone()).unwrap();
            receiver.try_recv().unwrap()
        });
    });

    let hub = Hub::new();
    let bounds = Bounds { messages: 100, bytes: 1 << 20 };
    let mut mailbox = hub.open("a!b".parse().unwrap(), bounds).unwrap();
    group.bench_function("mailbox", |bencher| {
        let expires = Instant::now() + std::time::Duration::from_secs(3600);
        bencher.iter(|| {
            mailbox.sender().deliver(Delivery { message: message.clone(), expires }).unwrap();
            mailbox.try_recv().unwrap()
        });
    });

    let (sender, mut receiver) = broadcast::channel::<Message>(100);
    group.bench_function("tokio_broadcast", |bencher| {
        bencher.iter(|| {
            sender.send(message.clone()).unwrap();
            receiver.try_recv().unwrap()
        });
    });

    let layer = MemoryLayer::default();
    let mut mailbox = runtime.block_on(layer.new_channel()).unwrap();
    let channel = mailbox.channel().clone();
    group.bench_function("layer_by_name", |bencher| {
        bencher.iter(|| {
            runtime.block_on(layer.send(&channel, message.clone())).unwrap();
            mailbox.try_recv().unwrap()
        });
    });
    group.finish();
}

fn awaited(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send_and_await");
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let message = message();

    let (sender, mut receiver) = mpsc::channel::<Message>(100);
    group.bench_function("tokio_mpsc", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                for _ in 0..50 {
                    sender.try_send(message.clone()).unwrap();
                }
                for _ in 0..50 {
                    std::hint::black_box(receiver.recv().await);
                }
            });
        });
    });

    let hub = Hub::new();
    let bounds = Bounds { messages: 100, bytes: 1 << 20 };
    let mut mailbox = hub.open("a!b".parse().unwrap(), bounds).unwrap();
    let sender = mailbox.sender().clone();
    group.bench_function("mailbox", |bencher| {
        let expires = Instant::now() + std::time::Duration::from_secs(3600);
        bencher.iter(|| {
            runtime.block_on(async {
                for _ in 0..50 {
                    sender.deliver(Delivery { message: message.clone(), expires }).unwrap();
                }
                for _ in 0..50 {
                    std::hint::black_box(mailbox.recv().await);
                }
            });
        });
    });

    group.bench_function("mailbox_drained", |bencher| {
        let (expires, mut messages) = (Instant::now() + std::time::Duration::from_secs(3600), Vec::new());
        bencher.iter(|| {
            for _ in 0..50 {
                sender.deliver(Delivery { message: message.clone(), expires }).unwrap();
            }
            mailbox.drain_into(&mut messages);
            messages.drain(..).for_each(|message| drop(std::hint::black_box(message)));
        });
    });
    group.finish();
}

fn churn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("churn");
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let layer = MemoryLayer::default();
    let room = GroupName::new("room").unwrap();
    let members: Vec<_> = (0..10_000).map(|_| runtime.block_on(layer.new_channel()).unwrap()).collect();
    for member in &members {
        runtime.block_on(layer.group_add(&room, member.channel())).unwrap();
    }
    group.bench_function("join_and_leave_a_group_of_10000", |bencher| {
        let guest = runtime.block_on(layer.new_channel()).unwrap();
        bencher.iter(|| {
            runtime.block_on(layer.group_add(&room, guest.channel())).unwrap();
            runtime.block_on(layer.group_discard(&room, guest.channel())).unwrap();
        });
    });
    group.bench_function("open_join_and_drop_a_mailbox", |bencher| {
        bencher.iter(|| {
            let guest = runtime.block_on(layer.new_channel()).unwrap();
            runtime.block_on(layer.group_add(&room, guest.channel())).unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, send_and_receive, awaited, churn);
criterion_main!(benches);
