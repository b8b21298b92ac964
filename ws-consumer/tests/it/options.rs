//! A channel layer, a mailbox and limits for the connections of one application.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::{
    ChannelLayer, ChannelLayerExt, LayerEvent, MailboxOptions, MemoryLayer, Message,
    wrap::{Outage, Wrapped},
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use ws_consumer::{
    Application, ConnectionOptions, ConnectionSettings, Consumer, Exchange, Frame, HttpConsumer, Limits,
    Multiplexer, NoEvents, NotFound, OverflowPolicy, Protocols, Result, Resume, Router, Socket,
    SocketService, Transport, consumer,
    middleware::{AllowedHosts, Guard},
    testing::TestApp,
};

use crate::support::{
    Server, close_code, echo, frame, raw, raw_frames, raw_frames_at,
    sessions::{ALL, Fault, Heard, SessionClient},
};

/// Tells what it hears in the group `news`, and of its layer.
#[derive(Default)]
struct Teller;

impl Consumer for Teller {
    type Event = NoEvents;

    const GROUPS: &'static [&'static str] = &["news"];

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        if frame.text()? == "busy" {
            sleep(Duration::from_secs(1)).await;
        }
        socket.send(frame).await
    }

    async fn layer_event(&mut self, socket: &mut Socket, event: LayerEvent) -> Result<()> {
        socket.send_text(if event == LayerEvent::Disconnected { "away" } else { "back" }).await
    }
}

fn limited(change: impl Fn(&mut Limits) + Send + Sync + 'static) -> ConnectionOptions {
    ConnectionOptions::new().limits(change)
}

/// Two routes of one consumer: `/own` with these options, `/plain` without.
fn routes(options: ConnectionOptions) -> Router {
    Router::new().consumer("/plain", Teller::default).consumer("/own", Teller::default).options(options)
}

// ---- limits

#[tokio::test(start_paused = true)]
async fn limits_hold_from_the_first_frame() {
    let long = || frame(0x81, &[b'x'; 11]);
    let cases: [(&str, ConnectionOptions, Vec<u8>, u16); 5] = [
        ("a message", limited(|limits| limits.max_message_size = 10), long(), 1009),
        (
            "fragments",
            limited(|limits| limits.max_fragments = 2),
            [frame(0x01, b"a"), frame(0x00, b"b").repeat(2)].concat(),
            1008,
        ),
        (
            "control frames",
            limited(|limits| (limits.control_burst, limits.control_rate) = (2, 1)),
            frame(0x8A, b"").repeat(4),
            1008,
        ),
        (
            "the last change",
            limited(|limits| limits.max_message_size = 1000).limits(|limits| limits.max_message_size /= 100),
            long(),
            1009,
        ),
        ("an age", limited(|limits| limits.max_age = Some(Duration::ZERO)), Vec::new(), 1001),
    ];
    for (what, options, input, code) in cases {
        let server = Server::new(routes(options));
        let frames = raw_frames_at(&server, "/own", &input).await;
        assert_eq!(close_code(&frames), code, "{what}");
        let input = [&input[..], &frame(0x88, b"")].concat();
        let frames = raw_frames_at(&server, "/plain", &input).await;
        assert!(frames.ends_with(b"\x88\x00"), "{what}: {frames:x?}");
    }
}

#[tokio::test]
async fn limits_may_exceed_the_services() {
    let mut limits = Limits::default();
    limits.max_message_size = 10;
    let server = Server::limited(routes(limited(|limits| limits.max_message_size = 20)), limits);
    let mut own = server.connect("/own").await;
    own.send(&"x".repeat(20)).await;
    assert_eq!(own.text().await.len(), 20);
    let mut plain = server.connect("/plain").await;
    plain.send(&"x".repeat(11)).await;
    assert_eq!(plain.close_code().await, 1009);
}

#[tokio::test(start_paused = true)]
async fn the_inner_options_win() {
    let inner = || routes(limited(|limits| limits.max_message_size = 10));
    let outer = || limited(|limits| limits.max_message_size = 1000);
    let hosts = || AllowedHosts::new(["test"]);
    for (what, server) in [
        ("nested", Server::new(outer().around(Router::new().nest("/in", inner())))),
        ("mounted", Server::new(Router::new().mount("/in", outer().around(inner())))),
        ("guarded", Server::new(outer().around(hosts().around(Router::new().nest("/in", inner()))))),
        ("a guarded mount", Server::new(Router::new().mount("/in", hosts().around(outer().around(inner()))))),
    ] {
        let long = frame(0x81, &[b'x'; 11]);
        assert_eq!(close_code(&raw_frames_at(&server, "/in/own", &long).await), 1009, "{what}");
        let end = [long, frame(0x88, b"")].concat();
        assert!(raw_frames_at(&server, "/in/plain", &end).await.ends_with(b"\x88\x00"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn options_work_without_a_router() {
    let server = Server::new(limited(|limits| limits.max_message_size = 10).around(echo));
    assert_eq!(close_code(&raw_frames(&server, &frame(0x81, &[b'x'; 11])).await), 1009);
}

#[tokio::test(start_paused = true)]
async fn idle_clients_close_by_route() {
    let options = limited(|limits| {
        limits.idle_timeout = Some(Duration::from_secs(50));
        limits.ping_interval = Duration::from_secs(10);
    });
    let server = Server::new(routes(options));
    let began = Instant::now();
    let mut own = server.connect("/own").await;
    assert_eq!(own.close_code().await, 1000);
    assert!((50..=61).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn decisions_time_out_by_route() {
    let hang = |_: Socket| std::future::pending::<Result<()>>();
    let router = Router::new()
        .application("/own", hang)
        .options(limited(|limits| limits.accept_timeout = Duration::from_secs(2)))
        .application("/plain", hang);
    let server = Server::new(router);
    for (path, seconds) in [("/own", 2), ("/plain", 10)] {
        let began = Instant::now();
        assert_eq!(server.refusal(path).await, 503);
        assert_eq!(began.elapsed().as_secs(), seconds, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_have_the_limits_of_their_route() {
    let options = limited(|limits| {
        limits.max_message_size = 10;
        limits.idle_timeout = Some(Duration::from_secs(50));
    });
    let layer = Arc::new(MemoryLayer::default());
    let server = Server::with_sessions(routes(options), &layer, Resume::default(), Limits::default());
    for transport in ALL {
        let mut plain = SessionClient::connected(&server.service, "/plain", transport).await;
        plain.send("x".repeat(11)).await;
        assert_eq!(plain.text().await.len(), 11, "{transport:?}");
        let mut own = SessionClient::connected(&server.service, "/own", transport).await;
        own.send("short").await;
        assert_eq!(own.text().await, "short", "{transport:?}");
        assert!(refuses(&mut own, transport, &"x".repeat(11)).await, "{transport:?}");
    }
    let mut idle = SessionClient::connected(&server.service, "/own", Transport::WebSocket).await;
    let began = Instant::now();
    assert_eq!(idle.next().await.unwrap(), Heard::Close(1000, "idle".to_owned()));
    assert!((50..=75).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// Sends a message that is too long. Returns whether the server refuses it.
async fn refuses(client: &mut SessionClient, transport: Transport, text: &str) -> bool {
    if transport == Transport::WebSocket {
        client.send(text).await;
        return matches!(client.next().await, Err(Fault::Cut) | Ok(Heard::Close(1009, _)));
    }
    let control = json!({ "token": client.token, "first": client.acked + 1, "mode": "send" });
    client.post(control, &[text.into()]).await.unwrap().0 == 413
}

// ---- mailboxes

#[tokio::test(start_paused = true)]
async fn mailboxes_have_their_own_policy() {
    let bounds = |capacity| MailboxOptions::default().with_capacity(capacity);
    let oldest = |capacity| bounds(capacity).with_overflow(OverflowPolicy::DropOldest);
    let around = |options: MailboxOptions| ConnectionOptions::new().mailbox(options);
    let first = ["0", "1"].map(str::to_owned);
    let last = ["8", "9"].map(str::to_owned);
    let cases: [(Box<dyn Application>, &[String]); 3] = [
        (Box::new(around(bounds(2)).around(consumer(Teller::default))), &first),
        (Box::new(around(oldest(2)).around(consumer(Teller::default))), &last),
        (Box::new(around(oldest(5)).around(around(bounds(2)).around(consumer(Teller::default)))), &last),
    ];
    for (application, expected) in cases {
        let app = TestApp::new(Arc::<dyn Application>::from(application));
        let mut client = app.websocket("/");
        client.connect().await.unwrap();
        // In one go: the connection's task has no turn in between.
        for number in 0..10 {
            let message = Message::websocket_text(number.to_string());
            _ = app.layer().group_send_message("news", message).await.unwrap();
        }
        for text in expected {
            client.assert_sent(text.as_str()).await;
        }
        client.refute_any_sent().await;
    }
}

// ---- layers

/// A layer that loses its backend when told.
fn fragile() -> (Arc<dyn ChannelLayer>, Outage) {
    let outage = Outage::default();
    (Wrapped::new(MemoryLayer::default(), outage.clone()).into_shared(), outage)
}

struct TwoLayers {
    service: SocketService<NotFound>,
    own: Arc<dyn ChannelLayer>,
    own_outage: Outage,
    outage: Outage,
}

impl TwoLayers {
    fn new() -> Self {
        let ((layer, outage), (own, own_outage)) = (fragile(), fragile());
        let router = routes(ConnectionOptions::new().layer(own.clone()));
        let protocols = Protocols::new().websocket(router).health_checks().resume(Resume::default());
        Self { service: protocols.into_service(layer), own, own_outage, outage }
    }

    fn server(&self) -> Server {
        Server { layer: Arc::default(), service: self.service.clone() }
    }
}

/// The status of a readiness check.
async fn ready(server: &Server) -> u16 {
    let answer = raw(server, b"GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    let text = String::from_utf8_lossy(&answer);
    text.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no answer: {text:?}"))
}

#[tokio::test(start_paused = true)]
async fn groups_are_those_of_the_own_layer() {
    let two = TwoLayers::new();
    let server = two.server();
    let (mut own, mut plain) = (server.connect("/own").await, server.connect("/plain").await);
    let mut carried = Vec::new();
    for transport in ALL {
        carried.push(SessionClient::connected(&two.service, "/own", transport).await);
    }
    let report = two.own.group_send_text("news", "own").await.unwrap();
    assert_eq!(report.local.matched, 1 + ALL.len());
    let report = two.service.layer().group_send_text("news", "plain").await.unwrap();
    assert_eq!(report.local.matched, 1);
    assert_eq!((own.text().await, plain.text().await), ("own".to_owned(), "plain".to_owned()));
    for client in &mut carried {
        assert_eq!(client.text().await, "own");
    }
}

#[tokio::test(start_paused = true)]
async fn outages_concern_the_layer_in_use() {
    let two = TwoLayers::new();
    let server = two.server();
    for (outage, hit, spared) in [(&two.own_outage, "/own", "/plain"), (&two.outage, "/plain", "/own")] {
        let (mut inside, mut outside) = (server.connect(hit).await, server.connect(spared).await);
        outage.begin();
        assert_eq!(inside.text().await, "away", "{hit}");
        assert_eq!(server.refusal(hit).await, 503, "{hit}");
        let session = SessionClient::new(&two.service, hit).connect(Transport::LongPoll).await;
        assert!(matches!(session, Err(Fault::Status(503))), "{hit}");
        let mut new = server.connect(spared).await;
        assert_eq!(ready(&server).await, 503, "{hit}");
        outage.end();
        assert_eq!(inside.text().await, "back", "{hit}");
        for client in [&mut outside, &mut new] {
            client.send("nothing yet").await;
            assert_eq!(client.text().await, "nothing yet", "{spared}");
        }
        assert_eq!(ready(&server).await, 200, "{hit}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_kit_has_own_layers_too() {
    let (own, outage) = fragile();
    let app = TestApp::new(routes(ConnectionOptions::new().layer(own.clone())));
    let (mut inside, mut outside) = (app.websocket("/own"), app.websocket("/plain"));
    inside.connect().await.unwrap();
    outside.connect().await.unwrap();
    let _ = own.group_send_text("news", "own").await.unwrap();
    inside.assert_sent("own").await;
    outage.begin();
    inside.assert_sent("away").await;
    outside.refute_any_sent().await;
}

#[tokio::test(start_paused = true)]
async fn topics_have_their_own_layer() {
    let (own, outage) = fragile();
    let topics = routes(ConnectionOptions::new().layer(own.clone()));
    let app = TestApp::new(Multiplexer::new(topics));
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    for topic in ["/own", "/plain"] {
        client.send_to(format!(r#"{{"op":"join","topic":"{topic}","ref":1}}"#)).await;
        let joined = client.receive_json_from::<Value>().await;
        assert_eq!(joined["op"], "joined", "{joined}");
    }
    let message = |topic, payload| json!({"op": "message", "topic": topic, "payload": payload});
    let _ = own.group_send_text("news", "\"own\"").await.unwrap();
    assert_eq!(client.receive_json_from::<Value>().await, message("/own", "own"));
    outage.begin();
    app.outage().begin();
    assert_eq!(client.receive_json_from::<Value>().await, message("/plain", "away"));
    client.refute_any_sent().await;
}

#[tokio::test]
async fn plain_requests_have_options() {
    struct Publish;
    impl HttpConsumer for Publish {
        type Event = NoEvents;

        async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
            exchange.group_send_json("news", "from a request").await?;
            exchange.send_response(StatusCode::NO_CONTENT, "").await
        }
    }
    let own = MemoryLayer::default().into_shared();
    let mut member = own.new_channel().await.unwrap();
    own.join("news", member.channel().as_str()).await.unwrap();
    let options = ConnectionOptions::new().layer(own);
    let app = TestApp::new(Router::new().http("/own", || Publish).options(options));
    assert_eq!(app.http("POST", "/own").get_response().await.status(), 204);
    assert_eq!(Frame::from_message(&member.recv().await).unwrap().text().unwrap(), "\"from a request\"");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_own_layers() {
    let two = TwoLayers::new();
    let server = two.server();
    let mut own = server.connect("/own").await;
    own.send("busy").await;
    assert_eq!(own.text().await, "busy");
    own.send("busy").await;
    tokio::task::yield_now().await;
    two.service.connections().start_drain(ws_consumer::Drain::going_away());
    assert_eq!(own.text().await, "busy", "what was sent before");
    assert_eq!(own.close_code().await, 1001);
    two.service.connections().closed().await;
}

#[tokio::test]
async fn settings_say_what_is_in_force() {
    let tell = |mut socket: Socket| async move {
        let settings: &ConnectionSettings = socket.settings();
        let told = (settings.limits().max_fragments, settings.mailbox().capacity);
        socket.accept().await?;
        socket.send_json(&told).await
    };
    let options =
        limited(|limits| limits.max_fragments = 7).mailbox(MailboxOptions::default().with_capacity(3));
    let server = Server::new(options.around(tell));
    assert_eq!(server.connect("/").await.text().await, "[7,3]");
}

#[tokio::test(start_paused = true)]
async fn endless_times_are_allowed() {
    type Change = fn(&mut Limits, Duration);
    let changes: [(&str, Change); 8] = [
        ("accept_timeout", |limits, time| limits.accept_timeout = time),
        ("close_timeout", |limits, time| limits.close_timeout = time),
        ("idle_timeout", |limits, time| limits.idle_timeout = Some(time)),
        ("max_age", |limits, time| limits.max_age = Some(time)),
        ("message_timeout", |limits, time| limits.message_timeout = time),
        ("ping_interval", |limits, time| limits.ping_interval = time),
        ("ping_timeout", |limits, time| limits.ping_timeout = time),
        ("write_timeout", |limits, time| limits.write_timeout = time),
    ];
    let layer = Arc::new(MemoryLayer::default());
    for (what, change) in changes {
        let mut limits = Limits::default();
        change(&mut limits, Duration::MAX);
        let mut resume = Resume::default();
        (resume.ttl, resume.forward_timeout) = (Duration::MAX, Duration::MAX);
        let server = Server::with_sessions(echo, &layer, resume, limits);
        let mut client = server.connect("/").await;
        client.send("hello").await;
        assert_eq!(client.text().await, "hello", "{what}");
        for transport in ALL {
            let mut client = SessionClient::connected(&server.service, "/", transport).await;
            client.send("hello").await;
            assert_eq!(client.text().await, "hello", "{what}, {transport:?}");
        }
    }
    let users = ws_consumer::UsersExt::users_online(&*layer, ["ann"], Duration::MAX).await.unwrap();
    assert!(users.is_empty());
}
