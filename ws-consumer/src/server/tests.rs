//! Slow clients of unending responses, on connections like those of [`serve`](super::serve).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{ChannelLayer, MemoryLayer, Message};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    permits::{ConnectionPermits, PermittedStream},
    serve::connection_with,
};
use crate::{
    Consumer, Exchange, HttpConsumer, NoEvents, NotFound, Protocols, Result, Resume, Router, SocketService,
};

#[derive(Default)]
struct Listener;

impl Consumer for Listener {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["news"];
}

/// A consumer that answers the request itself.
impl HttpConsumer for Listener {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["news"];

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        exchange.send_headers(StatusCode::OK).await
    }
}

fn service() -> (Arc<MemoryLayer>, SocketService<NotFound>) {
    let layer = Arc::new(MemoryLayer::default());
    let protocols = Protocols::new()
        .websocket(Router::new().consumer("/session", Listener::default))
        .requests(Router::new().http("/request", Listener::default))
        .resume(Resume::default());
    (layer.clone(), protocols.into_service(layer as Arc<dyn ChannelLayer>))
}

async fn connect(service: &SocketService<NotFound>, path: &str) -> DuplexStream {
    let permits = ConnectionPermits::new(10, None);
    let permit = permits.for_address(permits.acquire().await, [127, 0, 0, 1].into()).unwrap();
    let (mut client, server) = duplex(1024);
    let io = PermittedStream::new(server, permit, Duration::from_secs(25));
    let mut extensions = http::Extensions::new();
    extensions.insert(io.stalled());
    tokio::spawn(connection_with(io, extensions, service.clone(), CancellationToken::new()));
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    client
}

async fn publish(layer: &MemoryLayer) {
    let message = Message::websocket_text("x".repeat(1000));
    let _report =
        layer.group_send(&"news".parse::<channel_layer::GroupName>().unwrap().into(), message).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn counts_a_stalled_stream() {
    for path in ["/session", "/request"] {
        let (layer, service) = service();
        let _client = connect(&service, path).await;
        for _ in 0..10 {
            publish(&layer).await;
            sleep(Duration::from_secs(4)).await;
        }
        assert_eq!(service.connections().stats().closed_slow, 1, "{path}");
    }
}

/// Each client is counted once, whichever rule closes it.
#[tokio::test(start_paused = true)]
async fn counts_an_overflow_once() {
    for path in ["/session", "/request"] {
        let (layer, service) = service();
        let _client = connect(&service, path).await;
        for _ in 0..4000 {
            publish(&layer).await;
            tokio::task::yield_now().await;
        }
        sleep(Duration::from_secs(60)).await;
        assert_eq!(service.connections().stats().closed_slow, 1, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn does_not_count_a_slow_reader() {
    for path in ["/session", "/request"] {
        let (layer, service) = service();
        let mut client = connect(&service, path).await;
        let mut read = 0;
        for _ in 0..10 {
            publish(&layer).await;
            let mut some = [0; 4096];
            if let Ok(bytes) = timeout(Duration::from_secs(1), client.read(&mut some)).await {
                read += bytes.unwrap();
            }
            sleep(Duration::from_secs(10)).await;
        }
        assert!(read > 5000, "{read}");
        drop(client);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(service.connections().stats().closed_slow, 0, "{path}");
    }
}
