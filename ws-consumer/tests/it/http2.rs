//! Sessions over one HTTP/2 connection: all carriers and requests of a browser share one, and a host is named by `:authority`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{ChannelLayerExt, MemoryLayer};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{io::duplex, time::sleep};
use tower_service::Service;
use ws_consumer::{Consumer, Frame, Limits, NoEvents, Result, Resume, Router, Socket};

use crate::support::{Server, timed};

/// Echoes, and sends the host of the request.
#[derive(Default)]
struct Echo;

impl Consumer for Echo {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["all"];

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        if frame == Frame::from("host") {
            let host = socket.scope().header("host").unwrap_or_default().to_owned();
            return socket.send(host).await;
        }
        socket.send(frame).await
    }
}

/// A connection, on which any number of requests may be in flight.
struct Client {
    server: Server,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    async fn new() -> Self {
        let router = Router::new().consumer("/ws/", Echo::default);
        let layer = Arc::new(MemoryLayer::default());
        let server = Server::with_sessions(router, &layer, Resume::default(), Limits::default());
        let (near, far) = duplex(64 << 10);
        let service = server.service.clone();
        let respond = service_fn(move |request: Request<Incoming>| service.clone().call(request));
        tokio::spawn(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), respond));
        let (sender, connection) = timed(handshake(TokioExecutor::new(), TokioIo::new(near))).await.unwrap();
        tokio::spawn(connection);
        Self { server, sender }
    }

    /// With headers that are checked to be such as HTTP/2 has.
    async fn request(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let response = timed(self.sender.clone().send_request(request)).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        for name in ["connection", "upgrade", "keep-alive", "transfer-encoding"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        response
    }

    /// The control object of the answer, and the texts after it.
    async fn post(&self, control: Value, texts: &[&str]) -> (Value, Vec<String>) {
        let lines = texts.iter().map(|text| format!("{}\n", json!(text)));
        let body = format!("{control}\n{}", lines.collect::<String>());
        let request = Request::post("http://test/ws/").header("content-type", "application/x-ndjson");
        let response = self.request(request.body(body.into()).unwrap()).await;
        assert_eq!(response.status(), 200, "{control}");
        let answer = timed(response.into_body().collect()).await.unwrap().to_bytes();
        let answer = std::str::from_utf8(&answer).unwrap();
        let (control, texts) = answer.split_once('\n').unwrap();
        let texts = texts.lines().map(|text| serde_json::from_str(text).unwrap()).collect();
        (serde_json::from_str(control).unwrap(), texts)
    }

    async fn stream(&self, last: Option<&str>) -> Events {
        let mut request = Request::get("http://test/ws/").header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = self.request(request.body(Full::default()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Events { body: response.into_body(), read: String::new(), id: String::new() }
    }
}

struct Events {
    body: Incoming,
    read: String,
    /// Of the last event.
    id: String,
}

impl Events {
    /// The data of the next event that has one.
    async fn next(&mut self) -> Option<String> {
        loop {
            while let Some((event, rest)) = self.read.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let (data, id) = (field("data: "), field("id: "));
                self.read = rest.to_owned();
                self.id = id.unwrap_or_else(|| self.id.clone());
                if data.is_some() {
                    return data;
                }
            }
            let frame = timed(self.body.frame()).await?.unwrap();
            self.read += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
        }
    }

    async fn text(&mut self) -> String {
        self.next().await.unwrap()
    }

    async fn control(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn streams_hear_each_other() {
    let client = Client::new().await;
    let mut events = client.stream(None).await;
    let token = events.control().await["open"]["token"].clone();
    for n in 1..=50 {
        let text = format!("{n} {}", "x".repeat(1000 * (n % 7)));
        let asked = json!({ "token": token, "first": n, "mode": "send", "cursor": n - 1 });
        let (control, _) = client.post(asked, &[&text]).await;
        assert_eq!(control["ack"], n);
        assert_eq!(events.text().await, text);
    }
    let close = json!({ "token": token, "mode": "send", "close": { "code": 1000, "reason": "" } });
    client.post(close, &[]).await;
    assert_eq!(events.control().await["close"]["code"], 1000);
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn streams_resume_after_the_last_event() {
    let client = Client::new().await;
    let mut events = client.stream(None).await;
    let token = events.control().await["open"]["token"].clone();
    client.post(json!({ "token": token, "first": 1, "mode": "send" }), &["a", "b", "c"]).await;
    assert_eq!(events.text().await, "a");
    // Reset, while the connection stays.
    let id = events.id.clone();
    drop(events);
    client.post(json!({ "token": token, "first": 4, "mode": "send" }), &["d"]).await;
    let mut again = client.stream(Some(&id)).await;
    let open = again.control().await["open"].clone();
    assert_eq!((&open["resumed"], &open["cursor"], &open["ack"]), (&json!(true), &json!(1), &json!(4)));
    for text in ["b", "c", "d"] {
        assert_eq!(again.text().await, text);
    }
}

#[tokio::test(start_paused = true)]
async fn polls_wait_concurrently() {
    for mode in ["long-poll", "poll"] {
        let client = Client::new().await;
        let opened = futures_util::future::join_all(
            (0..20).map(async |_| client.post(json!({ "mode": mode }), &[]).await.0["open"]["token"].clone()),
        )
        .await;
        let polls = futures_util::future::join_all(opened.iter().map(async |token| {
            let mut heard = Vec::new();
            while heard.len() < 3 {
                let asked = json!({ "token": token, "cursor": heard.len(), "mode": mode });
                heard.extend(client.post(asked, &[]).await.1);
                sleep(Duration::from_millis(50)).await;
            }
            heard
        }));
        let sends = futures_util::future::join_all(opened.iter().enumerate().map(async |(n, token)| {
            sleep(Duration::from_secs(n as u64 % 5)).await;
            let send = |first| json!({ "token": token, "first": first, "mode": "send" });
            client.post(send(1), &[&n.to_string(), "two"]).await;
            client.post(send(3), &["three"]).await;
        }));
        let (heard, _) = timed(async { tokio::join!(polls, sends) }).await;
        for (n, heard) in heard.iter().enumerate() {
            assert_eq!(heard[..], [&n.to_string(), "two", "three"], "{mode}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_streams_hear_a_broadcast() {
    let client = Client::new().await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut events = client.stream(None).await;
        assert_eq!(events.control().await["open"]["resumed"], false);
        streams.push(events);
    }
    let report = client.server.layer.group_send_text("all", "to all").await.unwrap();
    assert_eq!(report.local.delivered, 50);
    for events in &mut streams {
        assert_eq!(events.text().await, "to all");
    }
    // A browser that goes away takes all of them with it; their sessions wait to be resumed, and then end.
    drop((streams, client.sender));
    timed(async {
        while !client.server.service.connections().is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_host_is_the_authority() {
    let client = Client::new().await;
    let (control, _) = client.post(json!({ "mode": "poll" }), &[]).await;
    let token = &control["open"]["token"];
    client.post(json!({ "token": token, "first": 1, "mode": "send" }), &["host"]).await;
    let (_, heard) = client.post(json!({ "token": token, "cursor": 0, "mode": "long-poll" }), &[]).await;
    assert_eq!(heard, ["test"]);
}

#[tokio::test(start_paused = true)]
async fn only_same_host_pages_enter() {
    let client = Client::new().await;
    for (name, value, expected) in [
        ("origin", "https://test", 200),
        ("origin", "https://other", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("sec-fetch-site", "cross-site", 403),
    ] {
        let request = Request::get("https://test/ws/").header("accept", "text/event-stream");
        let response = client.request(request.header(name, value).body(Full::default()).unwrap()).await;
        assert_eq!(response.status(), expected, "{name}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn http2_websocket_is_426() {
    let client = Client::new().await;
    let request = Request::get("http://test/ws/")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13");
    let response = client.request(request.body(Full::default()).unwrap()).await;
    assert_eq!(response.status(), 426);
}
