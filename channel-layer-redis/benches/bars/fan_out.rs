//! Messages to a large group in one process, compared with the layer in memory.
//!
//! 64 senders, each with one message in flight: the next follows when *all* members have received it, so only complete
//! deliveries count. The same code drives both layers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use channel_layer::{
    ChannelLayer, ChannelLayerExt, LayerConfig, Mailbox, MailboxOptions, MemoryLayer, Message, hub::Hub,
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    MEASURED, REPETITIONS, Served, median,
    support::{layer, server::Server},
};

const MEMBERS: usize = 1000;
const IN_FLIGHT: usize = 64;

/// The result of one layer.
struct Outcome {
    /// Messages per second that all members received.
    rate: f64,
    sent: u64,
    dropped: u64,
}

/// A message in flight.
#[derive(Default)]
struct Flight {
    arrived: AtomicUsize,
    landed: Notify,
}

pub(crate) async fn run() {
    let server = Server::start();
    // Probes would be counted among the commands.
    let address = server.address() + "?probe=1h";
    let mut ratios = Vec::new();
    for _ in 0..REPETITIONS {
        let memory = Arc::new(MemoryLayer::new(LayerConfig::default()));
        let memory = group_sends(memory.clone(), memory.hub()).await;
        let redis = Arc::new(layer(&address).await);
        let before = Served::by(&server);
        let redis = group_sends(redis.clone(), redis.hub()).await;
        let commands = Served::by(&server).since(&before).publishes;
        // Closing publishes a message that comes back, so that all before it have been sent.
        assert_eq!(commands, redis.sent + 1, "one command for each message");
        ratios.push(redis.rate / memory.rate);
        println!(
            "fan-out to {MEMBERS}, {IN_FLIGHT} in flight: memory {:.0}/s ({} dropped), Redis {:.0}/s ({} dropped, {commands} PUBLISH \
             for {} messages), ratio {:.2}",
            memory.rate,
            memory.dropped,
            redis.rate,
            redis.dropped,
            redis.sent,
            redis.rate / memory.rate
        );
    }
    println!("fan-out: median ratio {:.2}", median(&ratios));
}

async fn group_sends(layer: Arc<dyn ChannelLayer>, hub: &Hub) -> Outcome {
    let flights: Arc<[Flight]> = (0..IN_FLIGHT).map(|_| Flight::default()).collect();
    let mut members = JoinSet::new();
    for _ in 0..MEMBERS {
        let mailbox = layer.open(MailboxOptions::default()).await.expect("a mailbox");
        layer.join("room", mailbox.channel()).await.expect("a member");
        members.spawn(receive(mailbox, flights.clone()));
    }
    let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut senders = JoinSet::new();
    for sender in 0..IN_FLIGHT {
        senders.spawn(send(layer.clone(), sender, flights.clone(), sent.clone(), stop.clone()));
    }
    sleep(MEASURED / 3).await;
    let (before, started) = (sent.load(Relaxed), Instant::now());
    sleep(MEASURED).await;
    let rate = (sent.load(Relaxed) - before) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Relaxed);
    while senders.join_next().await.is_some() {}
    let (sent, ledger) = (sent.load(Relaxed), hub.ledger());
    assert_eq!(ledger.dropped.total(), 0, "everybody had room");
    assert_eq!(ledger.delivered, sent * MEMBERS as u64, "everybody received everything");
    members.shutdown().await;
    layer.close().await.expect("it can be closed");
    Outcome { rate, sent, dropped: ledger.dropped.total() }
}

/// Sends one message at a time, and waits until all members have it.
async fn send(
    layer: Arc<dyn ChannelLayer>,
    sender: usize,
    flights: Arc<[Flight]>,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Relaxed) {
        let message = Message::new("chat.message").with("text", "x".repeat(64)).with("sender", sender as u64);
        let report = layer.group_send_message("room", message).await.expect("Redis is up");
        assert_eq!(report.local.delivered, MEMBERS);
        flights[sender].landed.notified().await;
        sent.fetch_add(1, Relaxed);
    }
}

async fn receive(mut mailbox: Mailbox, flights: Arc<[Flight]>) {
    let mut messages = Vec::new();
    loop {
        std::future::poll_fn(|cx| mailbox.poll_ready(cx)).await;
        mailbox.drain_into(&mut messages);
        for message in messages.drain(..) {
            let sender = message.get("sender").and_then(|sender| sender.as_u64()).expect("it has a sender");
            let flight = &flights[sender as usize];
            if flight.arrived.fetch_add(1, Relaxed) + 1 == MEMBERS {
                flight.arrived.store(0, Relaxed);
                flight.landed.notify_one();
            }
        }
    }
}
