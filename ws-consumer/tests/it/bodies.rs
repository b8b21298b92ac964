//! Slow bodies of requests.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{ChannelLayer, MemoryLayer};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep},
};
use ws_consumer::{
    Exchange, HttpConsumer, NoEvents, NotFound, Protocols, Result, Router, SocketService, serve_connection,
};

use crate::support::timed;

#[derive(Default)]
struct Length;

impl HttpConsumer for Length {
    type Event = NoEvents;
    const MAX_BODY: usize = 100_000;

    async fn handle(&mut self, exchange: &mut Exchange, body: Bytes) -> Result<()> {
        sleep(Duration::from_secs(40)).await; // is nobody's slowness but its own
        exchange.send_response(StatusCode::OK, body.len().to_string()).await
    }
}

fn service() -> SocketService<NotFound> {
    let requests = Router::new().http("/", Length::default);
    Protocols::new()
        .requests(requests)
        .into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>)
}

/// Sends a body in a number of parts, one per second. Returns the answer, and the time that it took.
async fn post(service: &SocketService<NotFound>, head: &str, parts: usize, bytes: usize) -> (String, u64) {
    let (client, server) = duplex(1 << 20);
    tokio::spawn(serve_connection(server, service.clone()));
    let (mut read, mut write) = tokio::io::split(client);
    let head = format!("POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{head}\r\n\r\n");
    let writing = tokio::spawn(async move {
        let _ = write.write_all(head.as_bytes()).await;
        for _ in 0..parts {
            sleep(Duration::from_secs(1)).await;
            let _ = write.write_all(&vec![b'x'; bytes]).await;
        }
        write // open until the answer is there
    });
    let (began, mut answer) = (Instant::now(), String::new());
    timed(read.read_to_string(&mut answer)).await.unwrap();
    writing.abort();
    (answer, began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn missing_body_is_408() {
    let service = service();
    for (head, parts) in
        [("content-length: 100", 0), ("content-length: 1000", 1000), ("transfer-encoding: chunked", 0)]
    {
        let (answer, took) = post(&service, head, parts, 1).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{head}: {answer}");
        assert!((30..=31).contains(&took), "{head}: {took}");
    }
    assert!(service.connections().is_empty());
}

#[tokio::test(start_paused = true)]
async fn slow_steady_body_is_awaited() {
    let (answer, took) = post(&service(), "content-length: 36000", 60, 600).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("36000"), "{answer}");
    assert!(took >= 100);
}

#[tokio::test(start_paused = true)]
async fn long_body_is_413_early() {
    let (answer, took) = post(&service(), "content-length: 1000000000", 3, 50_000).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && took < 10, "{took}: {answer}");
}

#[tokio::test(start_paused = true)]
async fn refuses_unknown_codings() {
    let sessions = Protocols::new()
        .requests(Router::new().http("/", Length::default))
        .websocket(Router::new().application("/", crate::support::echo))
        .resume(ws_consumer::Resume::default())
        .into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>);
    let ndjson = "content-type: application/x-ndjson\r\n";
    for (head, status) in [
        ("content-length: 3", "200"),
        ("content-encoding: identity\r\ncontent-length: 3", "200"),
        ("content-encoding: gzip\r\ncontent-length: 3", "415"),
        ("content-encoding: br, gzip\r\ncontent-length: 3", "415"),
        ("transfer-encoding: chunked", "200"),
        // About the answer: it is sent as if nothing had been said.
        ("te: identity, chunked\r\ncontent-length: 3", "200"),
        ("te: trailers, deflate;q=0.5\r\ncontent-length: 3", "200"),
        ("transfer-encoding: identity, chunked", "501"),
        ("transfer-encoding: gzip, chunked", "501"),
        ("transfer-encoding: identity\r\ntransfer-encoding: chunked", "501"),
        ("transfer-encoding: chunked, identity", "400"),
    ] {
        for ours in ["", ndjson] {
            let body = if head.contains("transfer") { "3\r\n{}\n\r\n0\r\n\r\n" } else { "{}\n" };
            let request =
                format!("POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{ours}{head}\r\n\r\n{body}");
            let (mut client, server) = duplex(1 << 20);
            tokio::spawn(serve_connection(server, sessions.clone()));
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            timed(client.read_to_string(&mut answer)).await.unwrap();
            // Sessions want more than `{}`.
            let expected = if ours.is_empty() || status != "200" { status } else { "400" };
            assert_eq!(answer.get(9..12), Some(expected), "{ours}{head}: {answer}");
            assert_eq!(answer.contains("accept-encoding: identity"), status == "415", "{answer}");
        }
    }
}
