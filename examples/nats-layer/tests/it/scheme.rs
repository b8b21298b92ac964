//! Layers by address.

use channel_layer::{Error, Message, Registry};

use crate::server::Server;

fn registry() -> Registry {
    Registry::default().with([nats_layer::scheme()])
}

#[tokio::test]
async fn prefixes_separate_layers() {
    let server = Server::start();
    let address = |prefix| format!("{}?prefix={prefix}&capacity=7&timeout=500ms", server.address());
    let (shop, other, dotted) = (address("shop"), address("other"), address("a..b."));
    let registry = registry();
    for (one, two, meet) in [(&shop, &shop, true), (&shop, &other, false), (&dotted, &dotted, true)] {
        let (one, two) = (registry.connect(one).await.unwrap(), registry.connect(two).await.unwrap());
        let mut member = one.open(Default::default()).await.unwrap();
        let group = "g..".parse().unwrap();
        one.group_add(&group, member.channel()).await.unwrap();
        for (sender, name) in [(&two, "m"), (&one, "end")] {
            let report = sender.group_send(&group.clone().into(), Message::new(name)).await.unwrap();
            assert_eq!(report.local.full, 0);
        }
        assert_eq!(member.recv().await.event_type(), Some(if meet { "m" } else { "end" }));
    }
}

#[tokio::test]
async fn bad_address_needs_no_server() {
    for (address, text) in [
        ("nats://127.0.0.1:1?capcity=2", "unknown option `capcity` (known: capacity, "),
        ("nats://127.0.0.1:1?timeout=soon", "option `timeout`: "),
        ("nats://127.0.0.1:99999", "option `address`: "),
    ] {
        let refused = registry().connect(address).await.unwrap_err();
        assert!(refused.to_string().starts_with(text), "{refused}");
    }
    let away = registry().connect("nats://127.0.0.1:1").await.unwrap_err();
    assert!(matches!(away, Error::Unavailable(_)), "{away}");
}
