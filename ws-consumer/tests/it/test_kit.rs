//! The test kit: the items T1 to T9 of Django Channels' tests.
//!
//! | item | test |
//! |---|---|
//! | T1 | `http_communicator_sends_queries` |
//! | T2 | `websocket_communicator_talks` |
//! | T3 | `t3_a_wrong_output_is_named` |
//! | T4 | `t4_a_router_is_an_application` |
//! | T5 | `early_leave_ends_well`, `t5_silence_is_told_in_time` |
//! | T6 | `paths_are_decoded_and_raw` |
//! | T7 | `empty_receive_does_not_wait` |
//! | T8 | no server without connections here: what is not called does not exist, and a connection's memory ends with it |
//! | T9 | with a real browser, in the workspace's tests; `a_live_server_has_a_free_port` here |

use std::{sync::Arc, time::Duration};

use channel_layer::{
    ChannelLayerExt, MemoryLayer, Message,
    wrap::{Lossy, Recorded, Recording, Wrapped},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::{connect_async, tungstenite};
use ws_consumer::{
    Close, Consumer, Error, Exchange, Frame, Input, NoEvents, Protocols, Result, Router, Scope, Socket,
    consumer, exchange,
    testing::{ApplicationCommunicator, Expected, LiveServer, TestApp, WebsocketCommunicator, advance},
    wire::{Incoming, Outgoing},
};

async fn echo(mut socket: Socket) -> Result<()> {
    socket.accept().await?;
    while let Some(input) = socket.next().await? {
        if let Input::Frame(frame) = input {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn http_communicator_sends_queries() {
    let tell = exchange(|mut exchange: Exchange| async move {
        let (method, uri) = (exchange.scope().method.clone(), exchange.scope().uri.clone());
        exchange.send_response(http::StatusCode::OK, format!("{method} {uri}")).await
    });
    let response = TestApp::new(tell).http("GET", "/test/?foo=bar").get_response().await;
    assert_eq!(response.body(), "GET /test/?foo=bar");
}

#[tokio::test(start_paused = true)]
async fn websocket_communicator_talks() {
    let mut client = WebsocketCommunicator::new(Arc::new(echo), "/testws/").with_header("x-a", "1");
    client.connect().await.unwrap();
    client.send_to("hello").await;
    assert_eq!(client.receive_from().await, "hello".into());
    client.send_json_to(&json!({ "hello": "world" })).await;
    assert_eq!(client.receive_json_from::<Value>().await, json!({ "hello": "world" }));
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "expected a frame, but it was Close(Close { code: 4000, reason: \"\" })")]
async fn t3_a_wrong_output_is_named() {
    let closing = |mut socket: Socket| async move {
        socket.accept().await?;
        socket.close(4000).await
    };
    let mut client = TestApp::new(closing).websocket("/");
    client.connect().await.unwrap();
    client.receive_json_from::<Value>().await;
}

#[tokio::test(start_paused = true)]
async fn t4_a_router_is_an_application() {
    struct Tell;
    impl Consumer for Tell {
        type Event = NoEvents;
        async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
            let message: String = socket.scope().params()?;
            socket.accept().await?;
            socket.send_text(message).await
        }
    }
    let test_app = TestApp::new(Router::new().consumer("/testws/{message:str}/", || Tell));
    let mut client = test_app.websocket("/testws/test/");
    client.connect().await.unwrap();
    client.assert_sent("test").await;
    assert_eq!(test_app.websocket("/nope").connect().await.unwrap_err().status, 404);
}

#[tokio::test(start_paused = true)]
async fn early_leave_ends_well() {
    let mut client = TestApp::new(echo).websocket("/");
    client.connect().await.unwrap();
    client.disconnect_with(Close::GOING_AWAY).await;
}

#[tokio::test(start_paused = true)]
async fn t5_silence_is_told_in_time() {
    let start = Instant::now();
    let waiting = tokio::spawn(async {
        let mut client = TestApp::new(echo).websocket("/");
        client.connect().await.unwrap();
        client.receive_from().await
    });
    assert!(waiting.await.unwrap_err().is_panic());
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn paths_are_decoded_and_raw() {
    let tell = |mut socket: Socket| async move {
        let scope = socket.scope();
        let told = format!("{} {} {}", scope.path(), scope.raw_path(), scope.uri.query().unwrap_or(""));
        socket.accept().await?;
        socket.send_text(told).await
    };
    for (asked, told) in [
        ("/test%20path?foo=bar", "/test path /test%20path foo=bar"),
        ("/testws/?a=%20b", "/testws/ /testws/ a=%20b"),
        ("ws://example.com/test", "/test /test "),
    ] {
        let mut client = TestApp::new(tell).websocket(asked);
        client.connect().await.unwrap();
        assert_eq!(client.receive_from().await, Frame::from(told));
    }
}

#[tokio::test(start_paused = true)]
async fn empty_receive_does_not_wait() {
    let mut client = TestApp::new(echo).websocket("/");
    client.connect().await.unwrap();
    assert!(client.receive_nothing(Duration::from_secs(3600)).await);
    client.send_to("hi").await;
    assert!(!client.receive_nothing(Duration::from_secs(3600)).await);
    assert_eq!(client.receive_from().await, "hi".into(), "it was only looked at");
}

#[tokio::test(start_paused = true)]
async fn application_communicator_talks() {
    let layer = Arc::new(MemoryLayer::default());
    let mut app = ApplicationCommunicator::new(&echo, Scope::default(), layer.clone());
    assert!(matches!(app.receive_output().await, Outgoing::Accept(_)));
    app.send_input(Incoming::Frame("hi".into())).await;
    assert!(matches!(app.receive_output().await, Outgoing::Frame(frame) if frame == "hi".into()));
    let late = app.wait(Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(late, Error::TimedOut(_)), "it goes on forever, and was ended");

    let failing = |_: Socket| async { Err(Error::other("as asked")) };
    let mut app = ApplicationCommunicator::new(&failing, Scope::default(), layer);
    assert_eq!(app.wait(Duration::from_secs(5)).await.unwrap_err().to_string(), "as asked");
    app.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "as asked")]
async fn failed_applications_show_errors() {
    let failing = |_: Socket| async { Err(Error::other("as asked")) };
    let mut app = ApplicationCommunicator::new(&failing, Scope::default(), Arc::new(MemoryLayer::default()));
    app.receive_output().await;
    advance(Duration::from_secs(1)).await;
    app.send_input(Incoming::Frame("hi".into())).await;
}

#[tokio::test(start_paused = true)]
async fn assertions_keep_other_frames() {
    let mut client = TestApp::new(echo).websocket("/");
    client.connect().await.unwrap();
    for text in ["a", "b", "{\"c\": 1}"] {
        client.send_to(text).await;
    }
    client.assert_sent(json!({ "c": 1 })).await;
    client.refute_sent("c").await;
    client
        .assert_sent(Expected::matching(|frame| frame.text().is_ok_and(|text| text.starts_with('b'))))
        .await;
    assert_eq!(client.receive_from().await, "a".into());
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "test_kit.rs:")]
async fn a_failure_names_its_place() {
    let mut client = TestApp::new(echo).websocket("/");
    client.connect().await.unwrap();
    client.assert_sent("b").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "Text(\"b\") was not sent; instead: [Frame(Text(\"a\"))]")]
async fn an_assertion_that_fails_shows_what_came_instead() {
    let mut client = TestApp::new(echo).websocket("/");
    client.connect().await.unwrap();
    client.send_to("a").await;
    client.assert_sent("b").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "Text(\"a\") was sent")]
async fn a_refutation_that_fails_says_so() {
    let mut client = TestApp::new(echo).websocket("/");
    client.connect().await.unwrap();
    client.send_to("a").await;
    client.refute_sent("a").await;
}

#[tokio::test(start_paused = true)]
async fn broadcasts_can_be_asserted() {
    let test_app = TestApp::new(echo);
    let mut room = test_app.broadcasts("room").await;
    let hello = json!({ "type": "say", "text": "hello" });
    let sent = [Message::new("other"), Message::encode(&hello).unwrap()];
    for message in sent {
        assert_eq!(test_app.layer().group_send_message("room", message).await.unwrap().local.delivered, 1);
    }
    room.assert_broadcast(&hello).await;
    room.refute_broadcast(&hello).await;
    assert_eq!(room.next().await, Some(Message::new("other")));
    assert_eq!(room.next().await, None);
}

/// A member of a group, which sends every frame to it.
struct Member;

impl Consumer for Member {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["room"];

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.group_send_json("room", &frame.json::<Value>()?).await
    }
}

#[tokio::test(start_paused = true)]
async fn recording_layer_lists_calls() {
    let recording = Recording::default();
    let layer = Wrapped::new(MemoryLayer::default(), recording.clone());
    let mut client = TestApp::with_layer(consumer(|| Member), Arc::new(layer)).websocket("/");
    client.connect().await.unwrap();
    client.send_to("1").await;
    client.assert_sent(json!(1)).await;
    let calls = recording.take();
    let [Recorded::GroupAdd { group, .. }, Recorded::GroupSend { message, .. }] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!((group.as_str(), message.event_type()), ("room", Some("websocket.send")));
}

#[tokio::test(start_paused = true)]
async fn lossy_layer_loses_messages() {
    let layer = Wrapped::new(MemoryLayer::default(), Lossy::every(2));
    let mut client = TestApp::with_layer(consumer(|| Member), Arc::new(layer)).websocket("/");
    client.connect().await.unwrap();
    for n in 1..=4 {
        client.send_to(n.to_string()).await;
    }
    for n in [1, 3] {
        assert_eq!(client.receive_json_from::<i64>().await, n, "every second one is lost");
    }
    client.refute_sent(json!(4)).await;
}

#[tokio::test(start_paused = true)]
async fn paused_time_is_advanced() {
    let ticking = |mut socket: Socket| async move {
        socket.accept().await?;
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            socket.send_text("tick").await?;
        }
    };
    let mut client = TestApp::new(ticking).websocket("/");
    client.connect().await.unwrap();
    advance(Duration::from_secs(59)).await;
    assert!(client.receive_nothing(Duration::ZERO).await);
    advance(Duration::from_secs(1)).await;
    assert!(!client.receive_nothing(Duration::ZERO).await);
    assert_eq!(client.receive_from().await, "tick".into());
}

#[tokio::test]
async fn a_live_server_has_a_free_port() {
    let (down, mut is_down) = tokio::sync::mpsc::channel(1);
    let protocols = Protocols::new().websocket(echo).on_shutdown(move |_| {
        let down = down.clone();
        async move { down.send(()).await.map_err(Error::other) }
    });
    let server = LiveServer::start(protocols.into_service(Arc::new(MemoryLayer::default()))).await.unwrap();
    assert!(server.url("/x").ends_with(&format!(":{}/x", server.address().port())));
    let (mut client, _) = connect_async(server.ws_url("/")).await.unwrap();
    client.send(tungstenite::Message::text("hi")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), tungstenite::Message::text("hi"));
    let stopping = tokio::spawn(server.stop());
    while let Some(Ok(_)) = client.next().await {}
    stopping.await.unwrap().unwrap();
    is_down.try_recv().expect("the shutdown hook has run");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_an_application_too() {
    struct Silent;
    impl Consumer for Silent {
        type Event = NoEvents;
    }
    let mut client = TestApp::new(consumer(|| Silent)).websocket("/");
    client.connect().await.unwrap();
    client.send_to("into the void").await;
    assert!(client.receive_nothing(Duration::from_secs(1)).await);
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn heads_have_no_body() {
    let tell = exchange(|mut exchange: Exchange| async move {
        match exchange.scope().uri.path() {
            "/whole" => exchange.send_response(http::StatusCode::OK, "abc").await,
            "/empty" => exchange.send_response(http::StatusCode::NO_CONTENT, "abc").await,
            _ => {
                exchange.send_headers(http::StatusCode::OK).await?;
                loop {
                    exchange.send_body("endless", true).await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
    let app = TestApp::new(tell);
    for (method, path, length) in [
        ("HEAD", "/whole", Some("3")),
        ("HEAD", "/endless", None),
        ("HEAD", "/empty", None),
        ("GET", "/empty", None),
    ] {
        let response = app.http(method, path).get_response().await;
        let told = response.headers().get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!((&response.body()[..], told), (&b""[..], length), "{method} {path}");
    }
    assert_eq!(app.http("HEAD", "/whole").get_headers().await.headers["content-length"], "3");
    assert_eq!(app.http("GET", "/whole").get_response().await.body(), "abc");
}
