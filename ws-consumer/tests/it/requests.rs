//! Plain HTTP by consumers: the items H1 to H4 and C18 to C20 of Django Channels' own tests.
//!
//! | item | test |
//! |---|---|
//! | H1 | `h1_a_request_is_answered` |
//! | H2 | `errors_reach_the_runner` |
//! | H3 | `consumers_are_per_request` |
//! | H4 | `response_parts_leave_at_once` |
//! | C18 | `chunked_bodies_are_bounded` |
//! | C19 | `disconnect_runs_once` |
//! | C20 | `long_poll_waits_for_events`, `long_poll_loses_nothing_between`; server-sent events are a transport of their own |

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName, MemoryLayer, Message};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower_service::Service;
use ws_consumer::{
    Consumer, Error, Exchange, HttpConsumer, NoEvents, Protocols, Result, Router, Socket, consumer, exchange,
    require_websocket,
    testing::{TestApp, advance},
};

#[derive(Default)]
struct Mirror {
    requests: usize,
}

impl HttpConsumer for Mirror {
    type Event = NoEvents;
    const MAX_BODY: usize = 10;

    async fn handle(&mut self, exchange: &mut Exchange, body: Bytes) -> Result<()> {
        self.requests += 1;
        let answer = json!({
            "method": exchange.scope().method.as_str(),
            "path": exchange.scope().path(),
            "query": exchange.scope().uri.query(),
            "body": String::from_utf8_lossy(&body),
            "requests": self.requests,
        });
        let mut head = ws_consumer::Head::from(StatusCode::CREATED);
        head.headers.insert("content-type", "application/json".parse()?);
        exchange.send_headers(head).await?;
        exchange.send_body(answer.to_string(), false).await
    }
}

#[tokio::test(start_paused = true)]
async fn h1_a_request_is_answered() {
    let app = TestApp::new(Router::new().http("/test/", Mirror::default));
    let response = app.http("POST", "/test/?foo=bar").with_body("body").get_response().await;
    assert_eq!(
        (response.status(), response.headers()["content-type"].to_str().unwrap()),
        (StatusCode::CREATED, "application/json")
    );
    let answer: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        answer,
        json!({ "method": "POST", "path": "/test/", "query": "foo=bar", "body": "body", "requests": 1 })
    );
    assert_eq!(app.http("GET", "/nope").get_response().await.status(), 404);
}

#[derive(Default)]
struct Failing;

impl HttpConsumer for Failing {
    type Event = NoEvents;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        match exchange.scope().path() {
            "/early" => Err(Error::other("as asked")),
            "/nothing" => Ok(()),
            "/panic" => panic!("as asked"),
            "/bad" => Err(Error::bad_input("as asked")),
            _ => {
                exchange.send_headers(StatusCode::OK).await?;
                exchange.send_body("half", true).await?;
                Err(Error::other("as asked"))
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn errors_reach_the_runner() {
    let app = TestApp::new(ws_consumer::http_consumer(Failing::default));
    for (path, status) in [("/early", 500), ("/nothing", 500), ("/panic", 500), ("/bad", 400)] {
        let mut client = app.http("GET", path);
        assert_eq!(client.get_response().await.status().as_u16(), status, "{path}");
        assert_eq!(client.wait().await.is_err(), path != "/nothing");
    }
    let mut client = app.http("GET", "/late");
    client.get_headers().await;
    assert_eq!(client.next_chunk().await, (Bytes::from("half"), true));
    assert_eq!(client.wait().await.unwrap_err().to_string(), "as asked");
}

#[tokio::test(start_paused = true)]
async fn consumers_are_per_request() {
    let app = TestApp::new(ws_consumer::http_consumer(Mirror::default));
    for _ in 0..2 {
        let response = app.http("GET", "/").get_response().await;
        let answer: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(answer["requests"], 1);
    }
}

async fn in_parts(mut exchange: Exchange) -> Result<()> {
    exchange.send_headers(StatusCode::OK).await?;
    for part in ["one ", "two ", "three"] {
        exchange.send_body(part, part != "three").await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn response_parts_leave_at_once() {
    let mut client = TestApp::new(exchange(in_parts)).http("GET", "/");
    client.get_headers().await;
    assert_eq!(client.next_chunk().await, (Bytes::from("one "), true));
    assert!(client.receive_nothing(Duration::from_millis(900)).await);
    advance(Duration::from_millis(200)).await;
    assert_eq!(client.next_chunk().await, (Bytes::from("two "), true));
}

#[tokio::test(start_paused = true)]
async fn chunked_bodies_are_bounded() {
    let app = TestApp::new(ws_consumer::http_consumer(Mirror::default));
    let ask =
        |chunks: &[&'static str]| chunks.iter().fold(app.http("POST", "/"), |c, chunk| c.with_body(*chunk));
    let response = ask(&["he", "l", "", "lo"]).get_response().await;
    assert_eq!(serde_json::from_slice::<Value>(response.body()).unwrap()["body"], "hello");
    assert_eq!(ask(&["01234", "56789"]).get_response().await.status(), 201);
    assert_eq!(ask(&["01234", "567890"]).get_response().await.status(), 413);
    assert_eq!(ask(&["01234567890"]).get_response().await.status(), 413);
}

struct Counting(Arc<AtomicUsize>);

impl HttpConsumer for Counting {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["all"];

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        match exchange.scope().path() {
            "/whole" => exchange.send_response(StatusCode::OK, "whole").await,
            "/fail" => Err(Error::other("as asked")),
            _ => Ok(()), // waits for events that never come
        }
    }
    async fn disconnect(&mut self, _: &mut Exchange) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn disconnect_runs_once() {
    for path in ["/whole", "/fail", "/leave"] {
        let (ended, layer) = (Arc::new(AtomicUsize::new(0)), Arc::new(MemoryLayer::default()));
        let make = ended.clone();
        let application = ws_consumer::http_consumer(move || Counting(make.clone()));
        let mut client = TestApp::with_layer(application, layer.clone()).http("GET", path);
        match path {
            "/leave" => {
                assert!(client.receive_nothing(Duration::from_secs(60)).await);
                client.disconnect().await;
            }
            _ => {
                client.get_response().await;
                let _outcome = client.wait().await;
            }
        }
        assert_eq!((ended.load(Relaxed), layer.hub().group_count()), (1, 0), "{path}");
    }
}

// ---- long poll

/// A consumer whose unfetched messages wait in a queue per user, also between two polls.
#[derive(Default)]
struct LongPoll;

/// The longest wait of a poll: less than any proxy's timeout.
const WINDOW: Duration = Duration::from_secs(10);

impl HttpConsumer for LongPoll {
    type Event = NoEvents;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        let queue: ChannelName = format!("poll.{}", exchange.scope().param("user")?).parse()?;
        let layer = exchange.layer().clone();
        layer.join("news", &queue).await?; // renewed by every poll
        match timeout(WINDOW, layer.receive(&queue)).await {
            Ok(message) => exchange.send_response(StatusCode::OK, serde_json::to_string(&message?)?).await,
            Err(_) => exchange.send_response(StatusCode::NO_CONTENT, "").await,
        }
    }
}

fn polls() -> TestApp {
    TestApp::new(Router::new().http("/poll/{user}", LongPoll::default))
}

async fn publish(app: &TestApp, n: i64) {
    let _report =
        app.layer().group_send_message("news", Message::new("news").with("n", n)).await.expect("a layer");
}

#[tokio::test(start_paused = true)]
async fn long_poll_waits_for_events() {
    let app = polls();
    let mut waiting = app.http("GET", "/poll/ann").with_patience(2 * WINDOW);
    assert!(waiting.receive_nothing(WINDOW / 2).await);
    publish(&app, 1).await;
    let response = waiting.get_response().await;
    assert_eq!(serde_json::from_slice::<Value>(response.body()).unwrap(), json!({ "type": "news", "n": 1 }));
    let start = tokio::time::Instant::now();
    let nothing = app.http("GET", "/poll/ann").with_patience(2 * WINDOW).get_response().await;
    assert_eq!((nothing.status(), start.elapsed()), (StatusCode::NO_CONTENT, WINDOW));
}

#[tokio::test(start_paused = true)]
async fn long_poll_loses_nothing_between() {
    let app = polls();
    let mut left = app.http("GET", "/poll/ann");
    assert!(left.receive_nothing(Duration::from_secs(1)).await);
    left.disconnect().await;
    for n in [1, 2] {
        publish(&app, n).await;
    }
    for n in [1, 2] {
        let response = app.http("GET", "/poll/ann").get_response().await;
        assert_eq!(serde_json::from_slice::<Value>(response.body()).unwrap()["n"], n);
    }
}

/// Answers with the first event.
#[derive(Default)]
struct Next;

#[derive(Deserialize)]
#[serde(tag = "type")]
enum NextEvent {
    #[serde(rename = "say")]
    Say { text: String },
}

impl HttpConsumer for Next {
    type Event = NextEvent;
    const GROUPS: &'static [&'static str] = &["all"];

    async fn handle(&mut self, _: &mut Exchange, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn event(&mut self, exchange: &mut Exchange, event: &NextEvent) -> Result<()> {
        let NextEvent::Say { text } = event;
        exchange.send_response(StatusCode::OK, text.clone()).await
    }
}

#[tokio::test(start_paused = true)]
async fn events_answer_waiting_requests() {
    let app = TestApp::new(ws_consumer::http_consumer(Next::default));
    let mut client = app.http("GET", "/");
    assert!(client.receive_nothing(Duration::from_secs(3600)).await);
    let say = Message::new("say").with("text", "now");
    let _report = app.layer().group_send_message("all", say).await.unwrap();
    assert_eq!(client.get_response().await.body(), "now");
}

// ---- one URL for both

async fn both(mut socket: Socket) -> Result<()> {
    if socket.is_websocket() {
        socket.accept().await?;
        return socket.send_text("by socket").await;
    }
    let mut exchange = Exchange::from_context(socket.into_context());
    exchange.send_response(StatusCode::OK, "by request").await
}

#[tokio::test(start_paused = true)]
async fn one_url_serves_both_protocols() {
    let app =
        TestApp::new(Router::new().application("/both", both).application("/ws", require_websocket(both)));
    assert_eq!(app.http("GET", "/both").get_response().await.body(), "by request");
    let refused = app.http("GET", "/ws").get_response().await;
    assert_eq!(
        (refused.status(), refused.headers()["upgrade"].to_str().unwrap()),
        (StatusCode::UPGRADE_REQUIRED, "websocket")
    );
    for path in ["/both", "/ws"] {
        let mut client = app.websocket(path);
        client.connect().await.unwrap();
        client.assert_sent("by socket").await;
    }
    let http_only = TestApp::new(ws_consumer::http_consumer(Mirror::default));
    assert_eq!(http_only.websocket("/").connect().await.unwrap_err().status, 400);
}

#[tokio::test(start_paused = true)]
async fn accept_refuses_plain_requests() {
    async fn accepting(mut socket: Socket) -> Result<()> {
        socket.accept().await
    }
    #[derive(Default)]
    struct Silent;
    impl Consumer for Silent {
        type Event = NoEvents;
    }
    for app in [TestApp::new(accepting), TestApp::new(consumer(Silent::default))] {
        assert_eq!(app.http("GET", "/").get_response().await.status(), StatusCode::BAD_REQUEST);
    }
}

// ---- through the service

fn request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::new(body.into())).expect("a request")
}

#[tokio::test(start_paused = true)]
async fn unrouted_requests_reach_the_pages() {
    let pages = tower::service_fn(|request: Request<Full<Bytes>>| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(
            [b"page ", &body[..]].concat().into(),
        )))
    });
    let requests = Router::new().http("/mirror", Mirror::default).application("/parts", exchange(in_parts));
    let protocols = Protocols::new().requests(requests).http(pages);
    let mut service = protocols.into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>);
    for (path, status, body) in [
        ("/parts", 200, "one two three".to_owned()),
        ("/other", 200, "page hello".to_owned()),
        (
            "/mirror",
            201,
            json!({ "method": "POST", "path": "/mirror", "query": null, "body": "hello", "requests": 1 })
                .to_string(),
        ),
    ] {
        let response = service.call(request(path, "hello")).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        let whole =
            response.into_body().collect().await.map_err(|error| error.to_string()).unwrap().to_bytes();
        assert_eq!(whole, body, "{path}");
    }
    service.connections().close().await;
    assert_eq!(service.call(request("/parts", "")).await.unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn unread_responses_end() {
    let ended = Arc::new(AtomicUsize::new(0));
    let endless = {
        let ended = ended.clone();
        exchange(move |mut exchange: Exchange| {
            let ended = ended.clone();
            async move {
                exchange.send_headers(StatusCode::OK).await?;
                let outcome = loop {
                    if let Err(error) = exchange.send_body(vec![0; 1 << 16], true).await {
                        break Err(error);
                    }
                };
                ended.fetch_add(1, Relaxed);
                outcome
            }
        })
    };
    let router = Router::new()
        .application("/endless", endless)
        .http("/late", Failing::default)
        .application("/parts", exchange(in_parts));
    let mut service = Protocols::new()
        .requests(router)
        .into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>);
    let response = service.call(request("/endless", "")).await.unwrap();
    assert_eq!((service.connections().len(), ended.load(Relaxed)), (1, 0));
    drop(response);
    let late = service.call(request("/late", "")).await.unwrap();
    assert!(late.into_body().collect().await.is_err(), "half a response is none");
    let parts = service.call(request("/parts", "")).await.unwrap();
    let (parts, ()) = tokio::join!(parts.into_body().collect(), service.connections().close());
    assert!(parts.is_ok(), "a shutdown lets it end");
    service.connections().close().await;
    assert_eq!(ended.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn startup_and_shutdown_hooks_run() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let seen = seen.clone();
        move |_: Arc<dyn ChannelLayer>| {
            let seen = seen.clone();
            async move {
                seen.lock().unwrap().push(what);
                Ok(())
            }
        }
    };
    let mut service = Protocols::new()
        .requests(Router::new().application("/", both))
        .on_startup(note("up 1"))
        .on_startup(note("up 2"))
        .on_shutdown(note("down 1"))
        .on_shutdown(note("down 2"))
        .into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>);
    service.startup().await.unwrap();
    for _ in 0..2 {
        assert_eq!(service.call(request("/", "")).await.unwrap().status(), 200);
    }
    assert_eq!(*seen.lock().unwrap(), ["up 1", "up 2"]);
    for _ in 0..2 {
        service.connections().close().await;
    }
    assert_eq!(*seen.lock().unwrap(), ["up 1", "up 2", "down 2", "down 1"]);
}

#[tokio::test(start_paused = true)]
async fn failed_startup_serves_nothing() {
    let tries = Arc::new(AtomicUsize::new(0));
    let hook = {
        let tries = tries.clone();
        move |_| {
            let first = tries.fetch_add(1, Relaxed) == 0;
            async move { if first { Err(Error::other("not yet")) } else { Ok(()) } }
        }
    };
    let mut service = Protocols::new()
        .requests(Router::new().application("/", both))
        .on_startup(hook)
        .into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>);
    assert_eq!(service.call(request("/", "")).await.unwrap().status(), 500);
    assert_eq!(service.call(request("/", "")).await.unwrap().status(), 200);
    assert_eq!(tries.load(Relaxed), 2);
}

/// Frames are for sockets: every way to send one fails on a plain request, at any time, and the response is not touched.
#[tokio::test(start_paused = true)]
async fn requests_send_no_frames() {
    async fn attempts(socket: &mut Socket) -> Vec<bool> {
        let handle = socket.handle();
        let shared = channel_layer::Message::websocket_text("x");
        vec![
            socket.send("x").await.is_err(),
            socket.send_text("x").await.is_err(),
            socket.send_json("x").await.is_err(),
            socket.send_bytes("x").await.is_err(),
            socket.send_encoded(shared).is_err(),
            handle.send("x").await.is_err(),
            handle.send_json("x").await.is_err(),
            handle.clone().send("x").await.is_err(),
        ]
    }
    async fn answer(mut socket: Socket) -> Result<()> {
        let mut failed = attempts(&mut socket).await;
        let mut exchange = Exchange::from_context(socket.into_context());
        exchange.send_headers(StatusCode::OK).await?;
        let mut socket = Socket::from_context(exchange.into_context());
        failed.extend(attempts(&mut socket).await);
        let handle = socket.handle();
        failed.push(tokio::spawn(async move { handle.send("x").await.is_err() }).await?);
        let all = failed.iter().all(|failed| *failed);
        let mut exchange = Exchange::from_context(socket.into_context());
        exchange.send_body(if all { "all failed" } else { "some did not" }, false).await?;
        Ok(())
    }
    let response = TestApp::new(answer).http("GET", "/").get_response().await;
    assert_eq!(response.body(), "all failed");
}
