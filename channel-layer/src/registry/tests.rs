use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::{error::Error, memory::MemoryLayer, message::Message};

async fn refusal(url: &str) -> String {
    Registry::default().connect(url).await.unwrap_err().to_string()
}

#[tokio::test]
async fn memory_addresses_hold_settings() {
    let url = "memory://?capacity=2&channel_capacity=on%65:1&channel_capacity=o*:3";
    let layer = Registry::default().connect(url).await.unwrap();
    for (name, capacity) in [("one", 1), ("other", 3), ("two", 2)] {
        let channel = name.parse().unwrap();
        for _ in 0..capacity {
            layer.send(&channel, Message::new("m")).await.unwrap();
        }
        assert!(matches!(layer.send(&channel, Message::new("m")).await, Err(Error::ChannelFull { .. })));
    }
}

#[test]
fn reads_all_settings() {
    let url = "memory://?byte_capacity=9&expiry=250ms&group_expiry=2h&overflow=keep-latest:player";
    let config = Address::parse(url).options().layer_config().unwrap();
    assert_eq!((config.byte_capacity, config.expiry.as_millis()), (9, 250));
    assert_eq!(
        (config.group_expiry.as_secs(), config.overflow),
        (7200, crate::OverflowPolicy::keep_latest("player"))
    );
}

#[test]
fn reads_backbone_settings() {
    let url = "bus://host?capacity=9&timeout=2s&connect_timeout=3s&heartbeat=4s&probe=5s&linger=6s&max_message=700&prefix=p";
    let mut options = Address::parse(url).options();
    let hub = options.hub_options().unwrap();
    let times = [hub.timeout, hub.connect_timeout, hub.heartbeat, hub.probe, hub.linger];
    assert_eq!(times.map(|time| time.as_secs()), [2, 3, 4, 5, 6]);
    assert_eq!((hub.layer.capacity, hub.max_message), (9, 700));
    assert!(options.finish().unwrap_err().to_string().starts_with("unknown option `prefix`"));
    let default = Address::parse("bus://host").options().hub_options().unwrap();
    assert_eq!((default.timeout.as_secs(), default.max_message), (1, 16 << 20));
}

#[tokio::test]
async fn rejects_bad_addresses() {
    let known = "capacity, byte_capacity, channel_capacity, expiry, group_expiry, overflow";
    assert_eq!(refusal("memory://?capcity=1").await, format!("unknown option `capcity` (known: {known})"));
    assert_eq!(refusal("radish://localhost").await, "unknown scheme `radish` (known: memory)");
    assert_eq!(refusal("memory").await, "unknown scheme `` (known: memory)");
    assert!(refusal("memory://?capacity=many").await.starts_with("option `capacity`: invalid digit"));
    for bad in
        ["expiry=s", "expiry=3w", "expiry=999999999999999999d", "capacity=1&capacity=2", "overflow=maybe"]
    {
        let option = bad.split('=').next().unwrap();
        assert!(
            refusal(&format!("memory://?{bad}")).await.starts_with(&format!("option `{option}`: it ")),
            "{bad}"
        );
    }
    assert!(refusal("memory://?channel_capacity=jobs").await.contains("a pattern, a colon and a number"));
}

#[tokio::test]
async fn connects_on_first_use() {
    static CONNECTED: AtomicUsize = AtomicUsize::new(0);
    let counted = Scheme::new("counted", async |_| {
        // fails the first time
        if CONNECTED.fetch_add(1, Relaxed) == 0 {
            return Err(Error::Unavailable("not yet".into()));
        }
        Ok(MemoryLayer::default())
    });
    let registry = Registry::default().with([counted]).with_alias("default", "counted://");
    assert_eq!(CONNECTED.load(Relaxed), 0);
    assert!(registry.layer("default").await.unwrap_err().is_transient());
    let (one, two) = tokio::join!(registry.layer("default"), registry.layer("default"));
    assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
    assert_eq!(CONNECTED.load(Relaxed), 2);
}

#[tokio::test]
async fn layers_can_be_replaced() {
    let registry = Registry::default().with_alias("default", "memory://");
    assert!(registry.set("default", MemoryLayer::default()).is_none(), "it was not connected");
    let mine = registry.layer("default").await.unwrap();
    let old = registry.set("default", MemoryLayer::default()).unwrap();
    assert!(Arc::ptr_eq(&mine, &old));
}

#[tokio::test]
async fn rejects_unknown_names() {
    let registry = Registry::default().with_alias("default", "memory://").with_alias("jobs", "memory://");
    let refused = registry.layer("job").await.unwrap_err();
    assert_eq!(refused.to_string(), "no channel layer is called `job` (there are: default, jobs)");
}

#[test]
fn debug_shows_no_password() {
    let url = "redis://user:canary@host/0?option=canary";
    let registry = Registry::default().with_alias("default", url);
    let shown = format!("{registry:?} {:?}", Address::parse(url));
    assert!(!shown.contains("canary") && shown.contains("default") && shown.contains("redis"));
}
