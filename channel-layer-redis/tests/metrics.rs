//! Counters of the `metrics` facade, in a separate program: a process has only one recorder.
#![cfg(feature = "metrics")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, atomic::AtomicU64},
};

use channel_layer::{ChannelLayer, ChannelLayerExt, LayerEvent};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use support::{layer, next, numbered, server::Server};

static COUNTERS: LazyLock<Mutex<BTreeMap<String, Arc<AtomicU64>>>> = LazyLock::new(Mutex::default);

struct Book;

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = COUNTERS.lock().expect("no holder panics");
        Counter::from_arc(counters.entry(key.name().to_owned()).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn counted(name: &str) -> u64 {
    let counters = COUNTERS.lock().expect("no holder panics");
    let counter = counters.get(&format!("channel_layer_redis_{name}_total"));
    counter.map_or(0, |counter| counter.load(std::sync::atomic::Ordering::Relaxed))
}

#[tokio::test]
async fn facade_equals_stats() {
    metrics::set_global_recorder(Book).expect("the only one");
    let server = Server::start();
    let one = layer(&server.address()).await;
    let mut mailbox = one.new_channel().await.unwrap();
    one.join("g", mailbox.channel()).await.unwrap();
    let _ = one.group_send_message("g", numbered(1)).await.unwrap();
    next(&mut mailbox).await;
    let mut events = one.events();
    server.cli(&["client", "kill", "type", "pubsub"]);
    while !matches!(events.next().await, Some(LayerEvent::Reconnected { .. })) {}
    let stats = one.stats();
    assert!(stats.published > 0 && stats.received > 0);
    assert_eq!((stats.disconnects, stats.reconnects), (1, 1));
    for (name, value) in [
        ("published", stats.published),
        ("received", stats.received),
        ("disconnects", stats.disconnects),
        ("reconnects", stats.reconnects),
        ("gap_milliseconds", stats.gap_milliseconds),
        ("lost", stats.lost),
    ] {
        assert_eq!(counted(name), value, "{name}");
    }
}
