//! The data that sessions may keep, and the order in which sessions end when there is too much.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{ChannelLayerExt, MemoryLayer};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;
use ws_consumer::{
    Close, Consumer, Frame, Limits, Peer, Refuse, Result, Resume, Router, Socket, Transport,
    middleware::{Guard, GuardRequest},
};

use crate::support::{Server, diary::Diary, sessions::SessionClient, timed};

/// Enough for four waiting sessions with empty logs.
const FOUR: usize = 40 << 10;

struct Member {
    name: String,
    diary: Diary,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Said {
    #[serde(rename = "said")]
    Text { text: String },
}

impl Consumer for Member {
    type Event = Said;
    const GROUPS: &'static [&'static str] = &["all"];

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.name = socket.scope().param("name")?.to_owned();
        socket.group_add(&self.name).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.text()? {
            "close" => socket.close(4001).await,
            _ => socket.send(frame).await,
        }
    }

    async fn event(&mut self, socket: &mut Socket, event: &Said) -> Result<()> {
        let Said::Text { text } = event;
        socket.send(text.as_str()).await
    }

    async fn disconnect(&mut self, _: &mut Socket, close: Close) {
        self.diary.note(format!("{} {}", self.name, close.code));
    }
}

struct NotEve;

impl Guard for NotEve {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        match request.header("cookie") {
            Some("eve") => Err(StatusCode::FORBIDDEN.into()),
            _ => Ok(()),
        }
    }
}

struct Stage {
    server: Server,
    diary: Diary,
}

impl Stage {
    fn new(change: impl FnOnce(&mut Resume)) -> Self {
        let diary = Diary::default();
        let noted = diary.clone();
        let router =
            Router::new().consumer("/{name}/", move || Member { name: String::new(), diary: noted.clone() });
        let mut transports = Resume::default();
        change(&mut transports);
        let layer = Arc::new(MemoryLayer::default());
        let server = Server::with_sessions(NotEve.around(router), &layer, transports, Limits::default());
        Self { server, diary }
    }

    async fn client(&self, name: &str, transport: Transport) -> SessionClient {
        timed(SessionClient::connected(&self.server.service, &format!("/{name}/"), transport)).await
    }

    /// Opens sessions of clients that poll, without a connection in between.
    async fn clients<const N: usize>(&self, names: [&str; N]) -> [SessionClient; N] {
        let mut clients = Vec::new();
        for name in names {
            clients.push(self.client(name, Transport::LongPoll).await);
        }
        clients.try_into().unwrap_or_else(|_| unreachable!("as many as names"))
    }

    /// Sends to a group, in the handlers' lane or as ready frames.
    async fn say(&self, group: &str, text: &str, as_frame: bool) {
        let layer = &self.server.layer;
        let said = Said::Text { text: text.to_owned() };
        let sent = match as_frame {
            true => layer.group_send_text(group, text).await,
            false => layer.group_send_event(group, &said).await,
        };
        assert_eq!(sent.expect("in memory").local.full, 0);
        sleep(Duration::from_millis(1)).await;
    }

    /// Opens a session for a client of this address, and returns the status and the answer.
    async fn post(&self, peer: Option<&str>, body: &str) -> (u16, Value) {
        let mut request = Request::post("/x/").header("content-type", "application/x-ndjson");
        if let Some(peer) = peer {
            request = request.extension(Peer(peer.parse::<SocketAddr>().expect("an address")));
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let answer = self.server.service.clone().call(request.body(body).expect("a request"));
        let answer = timed(answer).await.expect("it never fails");
        let status = answer.status().as_u16();
        let body = timed(answer.into_body().collect()).await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn open_from(&self, peer: &str) -> String {
        let (status, answer) = self.post(Some(peer), "{\"mode\":\"poll\"}\n").await;
        assert_eq!(status, 200, "{peer}");
        answer["open"]["token"].as_str().expect("a token").to_owned()
    }

    async fn is_there(&self, token: &str) -> bool {
        let (status, _) = self.post(None, &format!("{}\n", json!({ "token": token, "mode": "send" }))).await;
        assert!([200, 410].contains(&status), "{status}");
        status == 200
    }
}

/// Returns whether the client's session goes on.
async fn goes_on(client: &mut SessionClient) -> bool {
    timed(client.connect(Transport::Poll)).await.expect("let in");
    client.open["resumed"] == true
}

#[tokio::test(start_paused = true)]
async fn oldest_waiting_sessions_end() {
    let whole = "x".repeat(12 << 10);
    let cases: [(&str, &str, usize, bool); 5] = [
        ("one huge frame", &whole, 1, false),
        ("one huge frame as ready bytes", &whole, 1, true),
        ("many small ones", "x", 200, false),
        ("many empty ones", "", 180, false),
        ("many small ones as ready bytes", "x", 40, true),
    ];
    for (what, text, count, as_frame) in cases {
        for in_all in [false, true] {
            let stage = Stage::new(|transports| match in_all {
                true => transports.max_bytes = FOUR,
                false => transports.max_bytes_per_address = FOUR,
            });
            let [mut ann, mut bob] = stage.clients(["ann", "bob"]).await;
            assert!(stage.diary.all().is_empty(), "{what}");
            for _ in 0..count {
                stage.say("bob", text, as_frame).await;
            }
            assert_eq!(stage.diary.grows_to(1).await, ["ann 1006"], "{what}");
            assert!(goes_on(&mut bob).await, "{what}");
            assert!(!goes_on(&mut ann).await, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn newer_sessions_find_room() {
    let stage = Stage::new(|transports| transports.max_bytes_per_address = FOUR);
    for number in 0..20 {
        let mut client = SessionClient::new(&stage.server.service, &format!("/{number}/"));
        timed(client.connect(Transport::Poll)).await.expect("let in");
    }
    let ended = stage.diary.grows_to(16).await;
    assert_eq!(ended, (0..16).map(|number| format!("{number} 1006")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn request_headers_count() {
    let stage = Stage::new(|transports| transports.max_bytes_per_address = FOUR);
    let _ann = stage.client("ann", Transport::LongPoll).await;
    for name in ["bob", "cleo"] {
        let mut client = SessionClient::new(&stage.server.service, &format!("/{name}/"));
        client.headers.push(("x-padding", "x".repeat(10_000)));
        timed(client.connect(Transport::LongPoll)).await.expect("let in");
    }
    assert_eq!(stage.diary.grows_to(1).await, ["ann 1006"]);
}

#[tokio::test(start_paused = true)]
async fn what_several_keep_counts_once() {
    for as_frame in [false, true] {
        let stage = Stage::new(|transports| transports.max_bytes = 64 << 10);
        let _clients = stage.clients(["a", "b", "c", "d"]).await;
        stage.say("all", &"x".repeat(9_000), as_frame).await;
        assert!(stage.diary.all().is_empty(), "as a frame: {as_frame}");
        for name in ["a", "b", "c", "d"] {
            stage.say(name, &"x".repeat(9_000), as_frame).await;
        }
        assert!(!stage.diary.all().is_empty(), "as a frame: {as_frame}");
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledged_frames_are_uncounted() {
    let stage = Stage::new(|transports| transports.max_bytes_per_address = FOUR);
    let [_ann, mut bob] = stage.clients(["ann", "bob"]).await;
    for _ in 0..20 {
        stage.say("bob", &"x".repeat(5_000), false).await;
        timed(bob.text()).await;
        timed(bob.connect(Transport::LongPoll)).await.expect("let in"); // acknowledges
    }
    assert!(stage.diary.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn connected_sessions_block_no_other() {
    for transport in [Transport::WebSocket, Transport::EventStream] {
        let stage = Stage::new(|transports| transports.max_bytes_per_address = FOUR);
        let mut clients = Vec::new();
        for number in 0..20 {
            clients.push(stage.client(&format!("{number}"), transport).await);
        }
        stage.say("all", "hello", false).await;
        for client in &mut clients {
            assert_eq!(timed(client.text()).await, "hello", "{transport:?}");
        }
        // Without connections, the last four of them can resume.
        clients.iter_mut().for_each(SessionClient::cut);
        assert_eq!(stage.diary.grows_to(16).await.len(), 16, "{transport:?}");
        for client in clients.iter_mut().rev().take(4) {
            assert!(goes_on(client).await, "{transport:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn session_limits_are_per_address() {
    let stage = Stage::new(|transports| transports.max_waiting_per_address = 3);
    let victims = [
        stage.open_from("10.0.0.1:1").await,
        stage.open_from("[2001:db8:0:1::1]:1").await,
        stage.open_from("[::ffff:10.0.0.3]:1").await,
    ];
    let mut own = Vec::new();
    for number in 0..50 {
        own.push(stage.open_from(&format!("10.0.0.2:{number}")).await);
        own.push(stage.open_from(&format!("[2001:db8::{number:x}]:1")).await);
    }
    for (number, token) in own.iter().enumerate() {
        assert_eq!(stage.is_there(token).await, number >= own.len() - 6, "{number}");
    }
    for token in &victims {
        assert!(stage.is_there(token).await);
    }
    for number in 0..3 {
        stage.open_from(&format!("10.0.0.3:{number}")).await;
    }
    assert!(!stage.is_there(&victims[2]).await, "mapped into IPv6 it is the same address");
}

#[tokio::test(start_paused = true)]
async fn ended_sessions_take_no_place() {
    for transport in [Transport::LongPoll, Transport::WebSocket] {
        let stage = Stage::new(|transports| transports.max_sessions = 1);
        for number in 0..5 {
            let mut client = stage.client(&format!("{number}"), transport).await;
            client.send("close").await;
            stage.diary.grows_to(number + 1).await;
            // The end is still reported.
            sleep(Duration::from_secs(1)).await;
            assert!(matches!(
                timed(client.next()).await,
                Ok(crate::support::sessions::Heard::Close(4001, _))
            ));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn large_sessions_keep_new_ones_out() {
    let stage = Stage::new(|transports| transports.max_bytes = 20 << 10);
    let mut ann = stage.client("ann", Transport::WebSocket).await;
    let text = "x".repeat(15 << 10);
    // More than the pipe and the socket hold.
    for _ in 0..20 {
        stage.say("ann", &text, true).await;
    }
    assert_eq!(stage.post(Some("10.0.0.1:1"), "{\"mode\":\"poll\"}\n").await.0, 503);
    for _ in 0..20 {
        assert_eq!(timed(ann.text()).await, text, "nothing is lost");
    }
    sleep(Duration::from_secs(1)).await;
    ann.send("thanks").await;
    assert_eq!(timed(ann.text()).await, "thanks");
    assert_eq!(stage.post(Some("10.0.0.1:1"), "{\"mode\":\"poll\"}\n").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn unread_clients_are_not_read() {
    for size in [100, 10_000] {
        let stage = Stage::new(|_| {});
        let mut ann = stage.client("ann", Transport::WebSocket).await;
        let mut taken = 0;
        let text = "x".repeat(size);
        while timeout(Duration::from_secs(1), ann.send(text.as_str())).await.is_ok() {
            taken += size;
            assert!(taken < 10 << 20, "it is listened to forever");
        }
        // Both pipes, the output in flight, and the log.
        assert!(taken <= 512 << 10, "{size}: {taken} bytes");
    }
}

// ---- bodies of requests

type Parts = BoxBody<Bytes, Infallible>;

/// Returns a body of `count` parts, one per interval; without an end if `stays`.
fn parts(first: String, part: usize, count: usize, every: Duration, stays: bool) -> Parts {
    let stream = futures_util::stream::unfold(0, move |number| {
        let first = first.clone();
        async move {
            let chunk = match number {
                0 => first.into_bytes(),
                number if number <= count => {
                    sleep(every).await;
                    vec![b'x'; part]
                }
                _ if stays => std::future::pending().await,
                number if number == count + 1 => b"\"\n".to_vec(),
                _ => return None,
            };
            Some((Ok(hyper::body::Frame::data(Bytes::from(chunk))), number + 1))
        }
    });
    BoxBody::new(StreamBody::new(stream))
}

async fn post_parts(stage: &Stage, headers: &[(&str, &str)], body: Parts) -> (u16, u64) {
    let mut request = Request::post("/x/").header("content-type", "application/x-ndjson");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let began = Instant::now();
    let request = request.body(body).expect("a request");
    let answer = timed(stage.server.service.clone().call(request)).await.expect("it never fails");
    (answer.status().as_u16(), began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn bodies_wait_for_admission() {
    let stage = Stage::new(|_| {});
    let second = Duration::from_secs(1);
    let firsts = ["", "{", "{\"mode\":\"poll\"}\n\"", "{\"mode\":\"send\",\"token\":\"x\"}\n\""];
    let large = format!("{{}}\n\"{}", "x".repeat(100_000));
    for first in firsts.into_iter().chain([large.as_str()]) {
        let headers = [("host", "test"), ("origin", "http://evil.example")];
        let body = parts(first.to_owned(), 1, 0, second, true);
        assert_eq!(post_parts(&stage, &headers, body).await, (403, 0), "foreign, {first:.20}");
        let body = parts(first.to_owned(), 1, 0, second, true);
        assert_eq!(post_parts(&stage, &[("cookie", "eve")], body).await, (403, 0), "eve, {first:.20}");
        let body = parts(first.to_owned(), 1, 0, second, true);
        assert_eq!(post_parts(&stage, &[("cookie", "ann")], body).await, (408, 30), "ann, {first:.20}");
    }
    assert!(stage.diary.all().is_empty(), "no session has begun");
}

#[tokio::test(start_paused = true)]
async fn documented_body_pace_passes() {
    let stage = Stage::new(|_| {});
    let ann = stage.client("ann", Transport::EventStream).await;
    let control = json!({ "token": ann.token, "mode": "send", "first": 1 });
    let second = Duration::from_secs(1);
    for (bytes, expected) in [(600, (200, 90)), (100, (408, 40))] {
        let body = parts(format!("{control}\n\""), bytes, 90, second, false);
        let mut request = Request::post("/ann/").header("content-type", "application/x-ndjson");
        request = request.header("host", "test");
        let began = Instant::now();
        let service = &mut stage.server.service.clone();
        let answer = timed(service.call(request.body(body).expect("a request"))).await.expect("no failure");
        let (status, took) = (answer.status().as_u16(), began.elapsed().as_secs());
        match expected {
            (200, seconds) => assert_eq!((status, took), (200, seconds), "{bytes}"),
            (status_expected, most) => {
                assert_eq!(status, status_expected, "{bytes}");
                assert!(took <= most, "{bytes}: {took}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn endless_bodies_count_by_address() {
    let stage = Stage::new(|transports| transports.max_bytes_per_address = 300_000);
    let mut held = Vec::new();
    for _ in 0..10 {
        let body =
            parts(format!("{{\"mode\":\"send\"}}\n\"{}", "x".repeat(90_000)), 1, 0, Duration::ZERO, true);
        let request = Request::post("/x/").header("content-type", "application/x-ndjson").body(body);
        let mut service = stage.server.service.clone();
        held.push(tokio::spawn(service.call(request.expect("a request"))));
    }
    sleep(Duration::from_secs(1)).await;
    let mut refused = 0;
    for request in held {
        if request.is_finished() {
            let answer = request.await.expect("no panic").expect("no failure");
            assert_eq!(answer.status(), 503);
            assert!(answer.headers().contains_key("retry-after"));
            refused += 1;
        } else {
            request.abort();
        }
    }
    assert!((6..=8).contains(&refused), "{refused} of 10");
    sleep(Duration::from_secs(1)).await;
    stage.open_from("10.0.0.1:1").await;
    let whole = format!("{{\"mode\":\"poll\"}}\n\"{}\"\n", "x".repeat(90_000));
    assert_eq!(stage.post(None, &whole).await.0, 200, "what was held is given back");
}
