//! Consumers: the items C1 to C20 of Django Channels' tests, improved behaviours included.
//!
//! | item | test |
//! |---|---|
//! | C1 | `c1_connect_echo_and_disconnect` |
//! | C2 | `chooses_an_offered_subprotocol` |
//! | C3 | `static_groups_outlive_hooks` |
//! | C4 | `each_service_has_its_layer`: a layer is a value here, not an alias |
//! | C5 | `json_consumers_are_typed` |
//! | C6, C7, C12 | `non_events_reach_no_hook`: there is no method to be named |
//! | C8 | `accept_carries_headers` |
//! | C9 | `close_has_code_and_reason` |
//! | C10 | impossible: a frame is text or bytes, by its type |
//! | C11 | `scopes_are_per_connection` |
//! | C13 | `c13_hooks_may_refuse_by_an_error` |
//! | C14 | `disconnect_runs_after_panics` |
//! | C15, C16 | `sends_fail_outside_the_open_state` |
//! | C17 | `c17_order_is_kept` |
//! | C18 - C20 | in `requests.rs`; server-sent events are a transport's |

use std::sync::{Arc, Mutex};

use channel_layer::{ChannelLayerExt, MemoryLayer, Message};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ws_consumer::{
    Accept, Close, Consumer, Error, Frame, Json, NoEvents, Result, Socket, TypedConsumer, TypedSocket,
    consumer, testing::TestApp, typed,
};

type Log = Arc<Mutex<Vec<String>>>;

fn log(log: &Log, line: impl Into<String>) {
    log.lock().expect("no test panicked").push(line.into());
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().expect("no test panicked"))
}

struct Echo(Log);

impl Consumer for Echo {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        log(&self.0, "connect");
        socket.accept().await
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.send(frame).await
    }
    async fn disconnect(&mut self, _: &mut Socket, close: Close) {
        log(&self.0, format!("disconnect {}", close.code));
    }
}

#[tokio::test(start_paused = true)]
async fn c1_connect_echo_and_disconnect() {
    let seen = Log::default();
    let make = seen.clone();
    let app = TestApp::new(consumer(move || Echo(make.clone())));
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    for frame in [Frame::from("hi"), Frame::from(b"\xff".to_vec()), Frame::from(""), Frame::from(Vec::new())]
    {
        client.send_to(frame.clone()).await;
        assert_eq!(client.receive_from().await, frame, "empty ones count");
    }
    client.disconnect_with(4001).await;
    assert_eq!(taken(&seen), ["connect", "disconnect 4001"]);
}

async fn choosy(mut socket: Socket) -> Result<()> {
    let mut accept = Accept::default();
    accept.subprotocol = socket.scope().subprotocols().last().map(str::to_owned);
    accept.headers.insert("x-served-by", HeaderValue::from_static("us"));
    socket.accept_with(accept).await
}

#[tokio::test(start_paused = true)]
async fn chooses_an_offered_subprotocol() {
    let app = TestApp::new(choosy);
    let mut client = app.websocket("/").with_subprotocols(&["one", "two"]);
    assert_eq!(client.connect().await.unwrap().subprotocol.as_deref(), Some("two"));
    assert_eq!(app.websocket("/").connect().await.unwrap().subprotocol, None);
}

#[tokio::test(start_paused = true)]
async fn accept_carries_headers() {
    let accept = TestApp::new(choosy).websocket("/").connect().await.unwrap();
    assert_eq!(accept.headers["x-served-by"], "us");
}

#[derive(Default)]
struct Member;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum News {
    #[serde(rename = "news.flash")]
    Flash { text: String },
}

impl Consumer for Member {
    type Event = News;
    const GROUPS: &'static [&'static str] = &["news", "weather"];

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let early = News::Flash { text: "from connect".into() };
        socket.group_send("weather", &early).await?; // it is a member by now
        socket.accept().await
    }
    async fn event(&mut self, socket: &mut Socket, event: &News) -> Result<()> {
        let News::Flash { text } = event;
        socket.send_text(text).await
    }
}

#[tokio::test(start_paused = true)]
async fn static_groups_outlive_hooks() {
    let layer = Arc::new(MemoryLayer::default());
    let app = TestApp::with_layer(consumer(Member::default), layer.clone());
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    client.assert_sent("from connect").await;
    let flash = News::Flash { text: "hello".into() };
    assert_eq!(layer.group_send_event("news", &flash).await.unwrap().local.delivered, 1);
    client.assert_sent("hello").await;
    client.disconnect().await;
    assert_eq!((layer.hub().group_count(), layer.hub().mailbox_count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn each_service_has_its_layer() {
    let (mut one, mut other) = (
        TestApp::new(consumer(Member::default)).websocket("/"),
        TestApp::new(consumer(Member::default)).websocket("/"),
    );
    one.connect().await.unwrap();
    one.assert_sent("from connect").await;
    other.connect().await.unwrap();
    other.assert_sent("from connect").await;
    one.refute_sent("from connect").await;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    a: i64,
    b: i64,
}

#[derive(Default)]
struct Sums;

impl TypedConsumer for Sums {
    type Codec = Json;
    type Input = Sum;
    type Output<'a> = i64;
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, Sum { a, b }: Sum) -> Result<()> {
        let sum = a.checked_add(b).ok_or_else(|| Error::bad_input("too much"))?;
        socket.send(&sum).await
    }
}

#[tokio::test(start_paused = true)]
async fn json_consumers_are_typed() {
    let mut client = TestApp::new(typed(Sums::default)).websocket("/");
    client.connect().await.unwrap();
    client.send_json_to(&Sum { a: 1, b: 2 }).await;
    assert_eq!(client.receive_json_from::<i64>().await, 3);
    // Bad input is answered, and the connection stays; the original ends it.
    client.send_to(b"{}".to_vec()).await;
    assert_eq!(client.receive_json_from::<Value>().await, json!({ "error": "a text frame is expected" }));
    client.send_json_to(&json!({ "a": i64::MAX, "b": 1 })).await;
    client.assert_sent(json!({ "error": "too much" })).await;
    client.send_json_to(&json!({ "a": "1" })).await;
    let told: Value = client.receive_json_from().await;
    assert!(told["error"].as_str().unwrap().contains("invalid type"), "{told}");
}

#[cfg(feature = "msgpack")]
#[tokio::test(start_paused = true)]
async fn codecs_are_interchangeable() {
    use ws_consumer::{MessagePack, SerdeCodec};

    struct Packed;
    impl TypedConsumer for Packed {
        type Codec = MessagePack;
        type Input = Sum;
        type Output<'a> = Sum;
        type Event = NoEvents;
        async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, sum: Sum) -> Result<()> {
            socket.send(&Sum { a: sum.b, b: sum.a }).await
        }
    }

    let mut client = TestApp::new(typed(|| Packed)).websocket("/");
    client.connect().await.unwrap();
    client.send_to(MessagePack::to_frame(&Sum { a: 1, b: 2 }).unwrap()).await;
    assert_eq!(MessagePack::from_frame::<Sum>(&client.receive_from().await).unwrap(), Sum { a: 2, b: 1 });
    client.send_to("text").await;
    let told: Value = MessagePack::from_frame(&client.receive_from().await).unwrap();
    assert_eq!(told, json!({ "error": "a binary frame is expected" }));
}

#[tokio::test(start_paused = true)]
async fn non_events_reach_no_hook() {
    let app = TestApp::new(consumer(Member::default));
    let mut client = app.websocket("/");
    client.connect().await.unwrap();
    client.assert_sent("from connect").await;
    for name in ["_private", ".private", "close", "websocket.disconnect", "event", "nobody.knows", ""] {
        let message = Message::new(name).with("text", "x");
        assert_eq!(app.layer().group_send_message("news", message).await.unwrap().local.delivered, 1);
    }
    let untyped = Message::encode(&json!({ "text": "x" })).unwrap();
    let _report = app.layer().group_send_message("news", untyped).await.unwrap();
    let alive = News::Flash { text: "alive".into() };
    assert_eq!(app.layer().group_send_event("news", &alive).await.unwrap().local.delivered, 1);
    assert_eq!(client.receive_from().await, Frame::from("alive"));
}

#[tokio::test(start_paused = true)]
async fn close_has_code_and_reason() {
    let closing = |mut socket: Socket| async move {
        socket.accept().await?;
        socket.close(Close::new(4007, "test reason")).await
    };
    let mut client = TestApp::new(closing).websocket("/");
    client.connect().await.unwrap();
    assert_eq!(client.receive_close().await, Close::new(4007, "test reason"));
}

#[tokio::test(start_paused = true)]
async fn client_close_codes_arrive() {
    for code in [1000, 1001, 1005, 1006, 1009, 1011, 4000, 4999] {
        let seen = Log::default();
        let make = seen.clone();
        let mut client = TestApp::new(consumer(move || Echo(make.clone()))).websocket("/");
        client.connect().await.unwrap();
        client.disconnect_with(code).await;
        assert_eq!(taken(&seen)[1], format!("disconnect {code}"));
    }
}

#[tokio::test(start_paused = true)]
async fn scopes_are_per_connection() {
    let tell = |mut socket: Socket| async move {
        let n = *socket.scope().extensions.get::<u32>().unwrap();
        socket.scope_mut().extensions.insert(n + 1);
        socket.accept().await?;
        let (path, n) = (socket.scope().path().to_owned(), *socket.scope().extensions.get::<u32>().unwrap());
        socket.send_text(format!("{path} {n}")).await
    };
    let app = TestApp::new(tell);
    let (mut a, mut b) =
        (app.websocket("/a").with_extension(1_u32), app.websocket("/b").with_extension(7_u32));
    a.connect().await.unwrap();
    b.connect().await.unwrap();
    assert_eq!((a.receive_from().await, b.receive_from().await), ("/a 2".into(), "/b 8".into()));
}

#[tokio::test(start_paused = true)]
async fn c13_hooks_may_refuse_by_an_error() {
    let refusing = |_: Socket| async { Err(Error::Refused(StatusCode::UNAUTHORIZED)) };
    assert_eq!(TestApp::new(refusing).websocket("/").connect().await.unwrap_err().status, 401);
}

struct Breaking(Log);

impl Consumer for Breaking {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["all"];

    async fn receive(&mut self, _: &mut Socket, frame: Frame) -> Result<()> {
        match frame.text()? {
            "panic" => panic!("as asked"),
            _ => Err(std::io::Error::other("as asked").into()),
        }
    }
    async fn disconnect(&mut self, _: &mut Socket, close: Close) {
        log(&self.0, close.code.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn disconnect_runs_after_panics() {
    for how in ["panic", "fail"] {
        let (seen, layer) = (Log::default(), Arc::new(MemoryLayer::default()));
        let make = seen.clone();
        let mut client =
            TestApp::with_layer(consumer(move || Breaking(make.clone())), layer.clone()).websocket("/");
        client.connect().await.unwrap();
        client.send_to(how).await;
        assert_eq!(client.receive_close().await.code, 1011);
        assert!(client.wait().await.unwrap_err().to_string().contains("as asked"));
        assert_eq!((taken(&seen), layer.hub().group_count()), (vec!["1011".to_owned()], 0), "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn sends_fail_outside_the_open_state() {
    let seen = Log::default();
    let told = seen.clone();
    let sending = move |mut socket: Socket| {
        let told = told.clone();
        async move {
            let tell = |outcome: Result<()>| log(&told, format!("{:?}", outcome.unwrap_err()));
            tell(socket.send_text("early").await);
            socket.accept().await?;
            socket.close(1000).await?;
            tell(socket.send_text("late").await);
            tell(socket.close(1000).await);
            tell(socket.handle().send("late").await);
            Ok(())
        }
    };
    let mut client = TestApp::new(sending).websocket("/");
    client.connect().await.unwrap();
    client.wait().await.unwrap();
    assert_eq!(taken(&seen), ["NotAccepted", "Closed", "Closed", "Closed"]);
}

#[tokio::test(start_paused = true)]
async fn c17_order_is_kept() {
    let mut client = TestApp::new(consumer(|| Echo(Log::default()))).websocket("/");
    client.connect().await.unwrap();
    for n in 0..200 {
        client.send_to(n.to_string()).await;
    }
    for n in 0..200 {
        assert_eq!(client.receive_from().await, Frame::from(n.to_string()));
    }
}
