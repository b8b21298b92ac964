//! Every row of the table "What ends a connection".

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel_layer::ChannelLayerExt;
use futures_util::SinkExt;
use http::{HeaderValue, StatusCode};
use http_body_util::Empty;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};
use tower_service::Service;
use ws_consumer::{
    Accept, Close, Consumer, Error, Frame, Input, Limits, NoEvents, Refuse, Result, Router, Socket, consumer,
};

use crate::support::{Server, close_code, frame, raw_frames, request, timed};

/// Runs the text's commands in each hook, and reports the code in `disconnect`.
struct Scripted {
    connect: &'static str,
    ended: mpsc::UnboundedSender<u16>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Order {
    #[serde(rename = "do")]
    Do { what: String },
}

async fn obey(socket: &mut Socket, what: &str) -> Result<()> {
    match what {
        "accept" => socket.accept().await,
        "bad input" => Err(Error::bad_input("that is no good")),
        "bad name" => socket.group_add("no spaces").await,
        "close" => socket.close(Close::new(4007, "enough")).await,
        "fail" => Err(std::io::Error::other("disk").into()),
        "hang" => std::future::pending().await,
        "nothing" => Ok(()),
        "overload" => Err(Error::overloaded("no connection to the database is free")),
        "panic" => panic!("a test panics"),
        "param" => socket.scope().param("absent").map(drop),
        "refuse" => socket.refuse(StatusCode::UNAUTHORIZED).await,
        "refused" => Err(Error::Refused(StatusCode::GONE)),
        other => socket.send_text(other).await,
    }
}

impl Consumer for Scripted {
    type Event = Order;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.group_add("all").await?;
        obey(socket, self.connect).await
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        obey(socket, frame.text()?).await
    }
    async fn event(&mut self, socket: &mut Socket, event: &Order) -> Result<()> {
        let Order::Do { what } = event;
        obey(socket, what).await
    }
    async fn disconnect(&mut self, _: &mut Socket, close: Close) {
        self.ended.send(close.code).expect("the test listens");
    }
}

struct Case {
    server: Server,
    ended: mpsc::UnboundedReceiver<u16>,
}

impl Case {
    fn new(connect: &'static str) -> Self {
        Self::limited(connect, Limits::default())
    }

    fn limited(connect: &'static str, limits: Limits) -> Self {
        let (ended, receiver) = mpsc::unbounded_channel();
        let scripted = consumer(move || Scripted { connect, ended: ended.clone() });
        Self { server: Server::limited(scripted, limits), ended: receiver }
    }

    /// `disconnect` ran once, with this code, and no group is left.
    async fn ends_with(mut self, code: u16) {
        assert_eq!(timed(self.ended.recv()).await, Some(code));
        self.server.service.connections().close().await;
        assert!(self.ended.try_recv().is_err(), "disconnect ran twice");
        assert_eq!(self.server.layer.hub().group_count(), 0, "a group was not left");
        assert_eq!(self.server.layer.hub().mailbox_count(), 0);
    }

    async fn group_do(&self, what: &str) {
        let order = channel_layer::Message::new("do").with("what", what);
        let report = self.server.layer.group_send_message("all", order).await.expect("a layer");
        assert_eq!(report.local.delivered, 1);
    }
}

// ---- before accept

#[tokio::test]
async fn no_route_is_404() {
    let server = Server::new(Router::new().consumer("/ws/{room}/", || Silent));
    assert_eq!(server.refusal("/ws/").await, 404);
    assert_eq!(server.refusal("/ws/%ff/").await, 400);
}

struct Silent;
impl Consumer for Silent {
    type Event = NoEvents;
}

#[tokio::test]
async fn connect_decides_the_refusal() {
    for (connect, status) in [
        ("bad name", 500),
        ("param", 500),
        ("bad input", 400),
        ("refuse", 401),
        ("close", 403),
        ("nothing", 403),
        ("refused", 410),
        ("fail", 500),
        ("overload", 503),
        ("panic", 500),
    ] {
        let case = Case::new(connect);
        assert_eq!(case.server.refusal("/").await, status, "{connect}");
        case.ends_with(if connect == "close" { 4007 } else { 1006 }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_decision_in_time_is_503() {
    let case = Case::new("hang");
    assert_eq!(case.server.refusal("/").await, 503);
    case.ends_with(1006).await;
}

#[tokio::test]
async fn dropped_request_cancels_connect() {
    let case = Case::new("hang");
    let mut service = case.server.service.clone();
    let proper = request("/").into_parts().0;
    let answer = tokio::spawn(service.call(http::Request::from_parts(proper, Empty::<Bytes>::new())));
    while case.server.layer.hub().group_count() == 0 {
        tokio::task::yield_now().await;
    }
    answer.abort();
    case.ends_with(1006).await;
}

#[tokio::test]
async fn other_origins_are_refused() {
    let server = Server::new(consumer(|| Silent));
    for (origin, accepted) in [("http://test", true), ("http://evil", false), ("null", false)] {
        let mut request = request("/");
        request.headers_mut().insert("origin", HeaderValue::from_static(origin));
        assert_eq!(server.try_connect(request).await.is_ok(), accepted, "{origin}");
    }
}

#[tokio::test]
async fn refusals_are_complete_responses() {
    async fn refuse(mut socket: Socket) -> Result<()> {
        let mut refuse = Refuse::from(StatusCode::PAYMENT_REQUIRED);
        refuse.headers.insert("x-price", HeaderValue::from_static("7"));
        refuse.body = "seven, please".into();
        socket.refuse(refuse).await
    }
    let failed = Server::new(refuse).try_connect(request("/")).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(response)) = failed else { panic!("{failed:?}") };
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-price"]),
        (402, &HeaderValue::from_static("7"))
    );
    assert_eq!(response.body().as_deref(), Some(&b"seven, please"[..]));
}

#[tokio::test]
async fn accept_carries_subprotocol_and_headers() {
    async fn chosen(mut socket: Socket) -> Result<()> {
        let mut accept = Accept::default();
        accept.subprotocol = Some("chat.v2".to_owned());
        accept.headers.insert("x-room", HeaderValue::from_static("lobby"));
        socket.accept_with(accept).await
    }
    let server = Server::new(chosen);
    let mut offer = request("/");
    offer.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("chat.v1, chat.v2"));
    let client = server.try_connect(offer).await.unwrap();
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "chat.v2");
    assert_eq!(client.response.headers()["x-room"], "lobby");
    assert_eq!(server.refusal("/").await, 500, "a subprotocol that was not offered");
}

// ---- after accept

#[tokio::test]
async fn bad_input_keeps_the_connection() {
    let case = Case::new("accept");
    let mut client = case.server.connect("/").await;
    client.send("bad input").await;
    assert_eq!(client.text().await, r#"{"error":"that is no good"}"#);
    timed(client.socket.send(Message::binary(vec![1]))).await.unwrap();
    assert_eq!(client.text().await, r#"{"error":"a text frame is expected"}"#);
    client.send("still here").await;
    assert_eq!(client.text().await, "still here");
}

#[tokio::test]
async fn failing_hooks_close() {
    for (what, code) in [("fail", 1011), ("overload", 1013), ("panic", 1011)] {
        let case = Case::new("accept");
        let mut client = case.server.connect("/").await;
        client.send(what).await;
        assert_eq!(client.close_code().await, code, "{what}");
        case.ends_with(code).await;
    }
}

#[tokio::test]
async fn event_panic_ends_one_connection() {
    let case = Case::new("accept");
    let mut victim = case.server.connect("/").await;
    case.group_do("panic").await;
    assert_eq!(victim.close_code().await, 1011);
    let mut other = case.server.connect("/").await;
    other.send("fine").await;
    assert_eq!(other.text().await, "fine");
}

#[tokio::test]
async fn disconnect_panic_is_contained() {
    struct Clumsy;
    impl Consumer for Clumsy {
        type Event = NoEvents;
        async fn disconnect(&mut self, _: &mut Socket, _: Close) {
            panic!("a test panics");
        }
    }
    let server = Server::new(consumer(|| Clumsy));
    server.connect("/").await.leave().await;
    server.connect("/").await.leave().await;
    server.service.connections().close().await;
    assert!(server.service.connections().is_empty());
}

#[tokio::test]
async fn close_reasons_go_both_ways() {
    let case = Case::new("accept");
    let mut client = case.server.connect("/").await;
    client.send("close").await;
    let close = client.close_frame().await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4007, "enough"));
    case.ends_with(4007).await;

    for (sent, seen) in [(Some(4001), 4001), (Some(1000), 1000), (None, 1005)] {
        let case = Case::new("accept");
        let mut client = case.server.connect("/").await;
        let close = sent.map(|code: u16| CloseFrame { code: code.into(), reason: "bye".into() });
        timed(client.socket.close(close)).await.unwrap();
        case.ends_with(seen).await;
    }
}

#[tokio::test]
async fn a_client_that_vanishes_is_1006() {
    let case = Case::new("accept");
    drop(case.server.connect("/").await);
    case.ends_with(1006).await;
}

#[tokio::test]
async fn loop_outcomes_are_1000_and_1007() {
    async fn once(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        if let Some(Input::Frame(frame)) = socket.next().await? {
            let _: u8 = frame.json()?;
        }
        Ok(())
    }
    let server = Server::new(once);
    for (text, code) in [("7", 1000), ("no json", 1007)] {
        let mut client = server.connect("/").await;
        client.send(text).await;
        assert_eq!(client.close_code().await, code);
    }
}

#[tokio::test]
async fn protocol_errors_have_codes() {
    let mut limits = Limits::default();
    limits.max_message_size = 1000;
    let too_big = [&[0x82, 0xFE, 0x10, 0, 0, 0, 0, 0][..], &[0; 64]].concat();
    for (fault, frames, code) in [
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("reserved bit", frame(0xC1, b"x"), 1002),
        ("reserved opcode", frame(0x83, b"x"), 1002),
        ("stray continuation", frame(0x80, b"x"), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("close code 1005", frame(0x88, &1005_u16.to_be_bytes()), 1002),
        ("close code of one byte", frame(0x88, b"x"), 1002),
        ("bad UTF-8", frame(0x81, b"\xFF"), 1007),
        ("too big", too_big, 1009),
        ("2^63 bytes", vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ] {
        let case = Case::limited("accept", limits.clone());
        assert_eq!(close_code(&raw_frames(&case.server, &frames).await), code, "{fault}");
        case.ends_with(code).await;
    }
}

#[tokio::test]
async fn early_frames_are_answered() {
    let case = Case::new("accept");
    let close = frame(0x88, &1000_u16.to_be_bytes());
    let frames = [frame(0x81, b"early"), frame(0x89, b"!"), frame(0x81, b""), close].concat();
    let answer = raw_frames(&case.server, &frames).await;
    assert_eq!(answer, b"\x8A\x01!\x81\x05early\x81\x00\x88\x02\x03\xE8");
    case.ends_with(1000).await;
}

#[tokio::test]
async fn frames_before_a_fault_are_answered() {
    let case = Case::new("accept");
    let answer = raw_frames(&case.server, &[frame(0x81, b"good"), frame(0x83, b"bad")].concat()).await;
    assert!(answer.starts_with(b"\x81\x04good"), "{answer:x?}");
    assert_eq!(close_code(&answer[6..]), 1002);
    case.ends_with(1002).await;
}

#[tokio::test]
async fn last_frames_reach_the_consumer() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let listen = move |mut socket: Socket| {
        let told = told.clone();
        async move {
            socket.accept().await?;
            while let Some(Input::Frame(frame)) = socket.next().await? {
                tokio::task::yield_now().await;
                told.send(frame.text()?.to_owned())?;
            }
            Ok(())
        }
    };
    let mut client = Server::new(listen).connect("/").await;
    for text in ["one", "two", "three"] {
        client.socket.feed(Message::text(text)).await.unwrap();
    }
    timed(client.socket.flush()).await.unwrap();
    drop(client);
    for text in ["one", "two", "three"] {
        assert_eq!(timed(heard.recv()).await.unwrap(), text);
    }
}

#[tokio::test]
async fn shutdown_closes_with_1001() {
    let case = Case::new("accept");
    let mut clients = [case.server.connect("/").await, case.server.connect("/").await];
    let sockets = case.server.service.connections().clone();
    let closing = tokio::spawn(async move { sockets.close().await });
    for client in &mut clients {
        assert_eq!(client.close_code().await, 1001);
    }
    drop(clients);
    timed(closing).await.unwrap();
    assert_eq!(case.server.refusal("/").await, 503);
}

#[tokio::test]
async fn error_hook_decides() {
    struct Lenient;
    impl Consumer for Lenient {
        type Event = NoEvents;
        async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
            obey(socket, frame.text()?).await
        }
        async fn error(&mut self, socket: &mut Socket, error: Error) -> Result<()> {
            match error {
                Error::Other(_) => socket.send_text("never mind").await,
                _ => socket.close(4000).await,
            }
        }
    }
    let mut client = Server::new(consumer(|| Lenient)).connect("/").await;
    client.send("fail").await;
    assert_eq!(client.text().await, "never mind");
    client.send("bad input").await;
    assert_eq!(client.close_code().await, 4000);
}

// ---- always

#[tokio::test(start_paused = true)]
async fn late_hooks_are_cancelled() {
    let case = Case::new("accept");
    let mut client = case.server.connect("/").await;
    client.send("hang").await;
    client.socket.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(client);
    case.ends_with(1006).await;
}

#[tokio::test]
async fn sends_need_an_open_socket() {
    let (told, mut errors) = mpsc::unbounded_channel();
    let told = Arc::new(told);
    let early_and_late = move |mut socket: Socket| {
        let told = told.clone();
        async move {
            told.send(socket.send_text("early").await.unwrap_err().to_string()).unwrap();
            socket.accept().await?;
            socket.close(1000).await?;
            told.send(socket.send_text("late").await.unwrap_err().to_string()).unwrap();
            Ok(())
        }
    };
    let server = Server::new(early_and_late);
    let mut client = server.connect("/").await;
    assert_eq!(client.close_code().await, 1000);
    assert_eq!(timed(errors.recv()).await.unwrap(), "the socket was not accepted");
    assert_eq!(timed(errors.recv()).await.unwrap(), "the connection is closed");
}
