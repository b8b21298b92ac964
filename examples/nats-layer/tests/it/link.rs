//! A link and its end, without the engine.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{
    Error,
    backbone::{Backbone, BackboneLink, Inbound, Subscription},
};
use nats_layer::NatsBackbone;
use tokio::time::{sleep, timeout};

use crate::server::{Clients, MAX_PAYLOAD, Server};

const LIMIT: Duration = Duration::from_secs(10);

async fn link_to(address: &str) -> Arc<dyn BackboneLink> {
    let backbone = NatsBackbone::new(address).expect("a valid address");
    backbone.connect().await.expect("the server accepts clients")
}

async fn next(link: &Arc<dyn BackboneLink>) -> Inbound {
    timeout(LIMIT, link.next()).await.expect("a message comes in").expect("the link lives")
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test]
async fn confirmed_subscription_is_live() {
    let server = Server::start();
    let (one, two) = (link_to(&server.address()).await, link_to(&server.address()).await);
    for topic in ["..a", "a..b!c.", "p:g:a.b", "a/b"] {
        assert_eq!(one.subscribe(topic).await.unwrap(), Subscription::Confirmed);
        for n in 0..100 {
            two.publish(topic, bytes(&n.to_string())).await.unwrap();
        }
        for n in 0..100 {
            let expected = Inbound { topic: topic.to_owned(), bytes: bytes(&n.to_string()) };
            assert_eq!(next(&one).await, expected);
        }
        one.unsubscribe(topic).await.unwrap();
    }
}

#[tokio::test]
async fn shared_subscribers_take_turns() {
    let server = Server::start();
    let links = [link_to(&server.address()).await, link_to(&server.address()).await];
    for link in &links {
        link.subscribe_shared("jobs").await.unwrap();
    }
    for n in 0..200 {
        links[0].publish("jobs", bytes(&n.to_string())).await.unwrap();
    }
    let mut taken = Vec::new();
    while taken.len() < 200 {
        tokio::select! {
            message = next(&links[0]) => taken.push(message.bytes),
            message = next(&links[1]) => taken.push(message.bytes),
        }
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 200);
}

#[tokio::test]
async fn unsubscribes_at_the_server() {
    let server = Server::start();
    let link = link_to(&server.address()).await;
    link.ping().await.unwrap();
    let own = server.clients().subscriptions;
    let topics = ["a".to_owned(), "b".to_owned()];
    link.subscribe_all(&topics).await.unwrap();
    assert_eq!(server.clients().subscriptions, own + 2);
    link.unsubscribe_all(&topics).await.unwrap();
    until(&server, Clients { connections: 1, subscriptions: own }).await;
}

#[tokio::test]
async fn over_long_message_is_invalid() {
    let server = Server::start();
    let link = link_to(&server.address()).await;
    link.subscribe("a").await.unwrap();
    let refused = link.publish("a", vec![0; MAX_PAYLOAD + 1].into()).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidMessage(_)));
    let cause = std::error::Error::source(&refused).expect("the sizes").to_string();
    assert!(cause.contains("2097152") && cause.contains("2097153"), "{cause}");
    link.publish("a", vec![0; MAX_PAYLOAD].into()).await.unwrap();
    assert_eq!(next(&link).await.bytes.len(), MAX_PAYLOAD);
}

#[tokio::test]
async fn link_ends_with_its_server() {
    let mut server = Server::start();
    let link = link_to(&server.address()).await;
    link.subscribe("a").await.unwrap();
    server.kill();
    let ended = timeout(LIMIT, link.next()).await.expect("the end is noticed");
    assert!(matches!(ended, Err(Error::Interrupted(_))));
    server.restart();
    drop(link);
    until(&server, Clients::default()).await;
}

#[tokio::test]
async fn frozen_server_fails_pings() {
    let server = Server::start();
    let link = link_to(&server.address()).await;
    link.ping().await.unwrap();
    server.freeze();
    assert!(timeout(Duration::from_millis(100), link.ping()).await.is_err());
    assert!(timeout(Duration::from_millis(100), link.subscribe("a")).await.is_err());
    server.thaw();
    link.ping().await.expect("calls that were dropped do not disturb later ones");
    drop(link);
    until(&server, Clients::default()).await;
}

#[tokio::test]
async fn any_listed_server_connects() {
    let (mut down, up) = (Server::start(), Server::start());
    down.kill();
    for _ in 0..5 {
        link_to(&format!("{},127.0.0.1:{}", down.address(), up.port)).await.ping().await.unwrap();
    }
    assert!(matches!(
        NatsBackbone::new(&down.address()).unwrap().connect().await,
        Err(Error::Unavailable(_))
    ));
}

#[tokio::test]
async fn password_is_used_and_hidden() {
    let server = Server::start_with("authorization: { user: ann, password: \"can@ry\" }");
    let address = server.address();
    let wrong = NatsBackbone::new(&address).unwrap().connect().await.unwrap_err();
    assert!(wrong.to_string().contains("authorization"), "{wrong}");
    let backbone = NatsBackbone::new(&address.replace("//", "//ann:can%40ry@")).unwrap();
    let link = backbone.connect().await.unwrap();
    link.ping().await.unwrap();
    let shown = format!("{backbone:?} {link:?}");
    assert!(!shown.contains("can@ry") && !shown.contains("can%40ry"), "{shown}");
}

#[test]
fn invalid_address_is_refused() {
    for address in ["http://a", "nats://a:b:c", "nats://a,redis://b", "nats://a:99999"] {
        assert!(matches!(NatsBackbone::new(address), Err(Error::Config(_))), "{address}");
    }
}

async fn until(server: &Server, clients: Clients) {
    let wait = async {
        while server.clients() != clients {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(LIMIT, wait).await.is_ok(), "{:?}", server.clients());
}
