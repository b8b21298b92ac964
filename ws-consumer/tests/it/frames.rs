//! Broken frames beyond `outcomes::protocol_errors_have_codes`, a client in slow motion, and a panic in
//! every hook.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{sync::Arc, time::Duration};

use channel_layer::{ChannelLayerExt, Message};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    time::{Instant, sleep},
};
use ws_consumer::{Close, Consumer, Frame, Result, Socket, consumer};

use crate::support::{HANDSHAKE, Server, close_code, echo, frame, raw_frames, timed};

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

#[tokio::test]
async fn broken_frames_have_close_codes() {
    let long_ping = [&[0x89, 0x80 | 126, 0, 126, 0, 0, 0, 0][..], &[b'x'; 126]].concat();
    let largest = |first| [first, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0].to_vec();
    for (fault, frames, code) in [
        ("a ping of 126 bytes", long_ping, 1002),
        ("a text within a text", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("a binary within a text", [frame(0x01, b"a"), frame(0x02, b"b")].concat(), 1002),
        ("a second reserved bit", frame(0xA1, b"x"), 1002),
        ("a third reserved bit", frame(0x91, b"x"), 1002),
        ("an opcode of a control frame to come", frame(0x8B, b""), 1002),
        ("a close in fragments", frame(0x08, &1000_u16.to_be_bytes()), 1002),
        ("close 999", close(999, b""), 1002),
        ("close 0", close(0, b""), 1002),
        ("close 1004", close(1004, b""), 1002),
        ("close 1006", close(1006, b""), 1002),
        ("close 1015", close(1015, b""), 1002),
        ("close 1016", close(1016, b""), 1002),
        ("close 2999", close(2999, b""), 1002),
        ("close 5000", close(5000, b""), 1002),
        ("close 65535", close(65_535, b""), 1002),
        ("a close whose reason is no UTF-8", close(1000, b"\xC3"), 1007),
        ("UTF-8 cut off at the end", frame(0x81, b"\xE6\xB1"), 1007),
        ("a surrogate in UTF-8", frame(0x81, b"\xED\xA0\x80"), 1007),
        ("UTF-8 broken between fragments", [frame(0x01, b"\xC3"), frame(0x80, b"x")].concat(), 1007),
        ("2^64 - 1 bytes of binary", largest(0x82), 1009),
        ("2^64 - 1 bytes of text", largest(0x81), 1009),
    ] {
        let server = Server::new(echo);
        assert_eq!(close_code(&raw_frames(&server, &frames).await), code, "{fault}");
        server.connect("/").await.leave().await; // unharmed
    }
}

#[tokio::test]
async fn message_limit_is_exact() {
    let message = |len: u64| {
        let head = [&[0x82, 0xFF][..], &len.to_be_bytes(), &[0; 4]].concat();
        [head, vec![7; len as usize]].concat()
    };
    let bye = close(1000, b"");
    let answer = raw_frames(&Server::new(echo), &[message(1 << 20), bye.clone()].concat()).await;
    assert_eq!(answer.len(), 10 + (1 << 20) + 4);
    let answer = raw_frames(&Server::new(echo), &message((1 << 20) + 1)).await;
    assert_eq!(close_code(&answer), 1009);
    // Neither does one in parts.
    let half = [&[0x02, 0xFF][..], &(600_000_u64).to_be_bytes(), &[0; 4], &[7; 600_000]].concat();
    let rest = [&[0x80][..], &half[1..]].concat();
    assert_eq!(close_code(&raw_frames(&Server::new(echo), &[half, rest].concat()).await), 1009);
}

// ---- a client that never reads

#[tokio::test(start_paused = true)]
async fn unread_echoes_stop_reading() {
    let server = Server::new(echo);
    let mut pipe = server.pipe();
    pipe.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let message = [&[0x82, 0xFF][..], &(65_536_u64).to_be_bytes(), &[0; 4], &[7; 65_536]].concat();
    let mut taken = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(10), pipe.write_all(&message)).await {
        written.unwrap();
        taken += 1;
        assert!(taken < 100, "the server reads what it cannot answer");
    }
    sleep(Duration::from_secs(30)).await;
    assert!(server.service.connections().is_empty());
    assert_eq!(server.service.connections().stats().closed_slow, 1);
}

// ---- slow motion

/// Writes `bytes` one per second, and returns how long the server bears it.
async fn borne(mut pipe: DuplexStream, bytes: &[u8]) -> u64 {
    let (mut read, mut write) = tokio::io::split(&mut pipe);
    let began = Instant::now();
    let trickle = async {
        for byte in bytes.iter().cycle() {
            sleep(Duration::from_secs(1)).await;
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    let drain = async {
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
    };
    tokio::select! { () = trickle => {} () = drain => {} }
    began.elapsed().as_secs()
}

async fn open(server: &Server) -> DuplexStream {
    let mut pipe = server.pipe();
    pipe.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let mut answer = vec![0; 500];
    let read = timed(pipe.read(&mut answer)).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 101"));
    pipe
}

#[tokio::test(start_paused = true)]
async fn slow_head_is_bounded() {
    let server = Server::new(echo);
    assert!(borne(server.pipe(), HANDSHAKE.as_bytes()).await <= 11);
    assert!(borne(server.pipe(), b"\r\n").await <= 11, "nor are empty lines a head");
}

#[tokio::test(start_paused = true)]
async fn slow_frame_is_bounded() {
    let server = Server::new(echo);
    for unit in [&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0x00, 0x80, 0, 0, 0, 0]] {
        assert!(borne(open(&server).await, unit).await <= 31, "{unit:x?}");
    }
    sleep(Duration::from_secs(6)).await; // for the close
    assert!(server.service.connections().is_empty());
}

#[tokio::test(start_paused = true)]
async fn fragments_do_not_extend_deadlines() {
    let server = Server::new(echo);
    let mut pipe = open(&server).await;
    let began = Instant::now();
    let mut next = frame(0x01, b"once");
    while pipe.write_all(&next).await.is_ok() {
        next = [frame(0x00, b" upon"), frame(0x89, b"")].concat();
        sleep(Duration::from_secs(1)).await;
        assert!(began.elapsed().as_secs() < 60, "still open");
    }
}

#[tokio::test(start_paused = true)]
async fn unanswered_close_times_out() {
    async fn bye(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        socket.close(4000).await
    }
    let server = Server::new(bye);
    let mut pipe = open(&server).await;
    let began = Instant::now();
    // Reads what comes, and keeps its own side open.
    let mut answer = Vec::new();
    timed(pipe.read_to_end(&mut answer)).await.unwrap();
    assert!(began.elapsed().as_secs() <= 5, "{:?}", began.elapsed());
    // Keeps talking instead of answering.
    let chatter = borne(open(&server).await, &frame(0x81, b"x")).await;
    assert!(chatter <= 6, "{chatter}");
}

#[tokio::test(start_paused = true)]
async fn silence_after_handshake_is_found() {
    let server = Server::new(echo);
    let mut pipe = open(&server).await;
    let began = Instant::now();
    let mut answer = Vec::new();
    timed(pipe.read_to_end(&mut answer)).await.unwrap();
    assert!((35..=41).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(answer, [0x89, 0], "one ping, and then no word");
}

// ---- panics

/// Panics in the hook of this name.
struct Clumsy {
    here: &'static str,
    ended: mpsc::UnboundedSender<()>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Order {
    #[serde(rename = "go")]
    Go,
}

impl Clumsy {
    fn pass(&self, hook: &str) {
        assert_ne!(self.here, hook, "a test panics");
    }
}

impl Consumer for Clumsy {
    type Event = Order;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.group_add("all").await?;
        self.pass("connect");
        socket.accept().await?;
        self.pass("after accept");
        Ok(())
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        self.pass("receive");
        tokio::task::yield_now().await;
        self.pass("receive, later");
        if self.here == "error" {
            return Err(std::io::Error::other("disk").into());
        }
        socket.send(frame).await
    }
    async fn event(&mut self, _: &mut Socket, _: &Order) -> Result<()> {
        self.pass("event");
        Ok(())
    }
    async fn error(&mut self, _: &mut Socket, error: ws_consumer::Error) -> Result<()> {
        self.pass("error");
        Err(error)
    }
    async fn disconnect(&mut self, _: &mut Socket, _: Close) {
        self.ended.send(()).unwrap();
        self.pass("disconnect");
    }
}

#[tokio::test]
async fn panics_end_one_connection() {
    for here in ["connect", "after accept", "receive", "receive, later", "event", "error", "disconnect"] {
        let server = Server::new(echo);
        let (ended, mut endings) = mpsc::unbounded_channel();
        let layer = server.layer.clone();
        let clumsy = consumer(move || Clumsy { here, ended: ended.clone() });
        let protocols = ws_consumer::Protocols::new().websocket(clumsy);
        let service = protocols.into_service(layer.clone() as Arc<dyn channel_layer::ChannelLayer>);
        let server = Server { layer, service };
        if here == "connect" {
            assert_eq!(server.refusal("/").await, 500);
        } else {
            let mut client = server.connect("/").await;
            let _ = client.socket.get_mut().write_all(&frame(0x81, b"hello")).await;
            let go = Message::new("go");
            let _: channel_layer::SendReport = server.layer.group_send_message("all", go).await.unwrap();
            match here {
                "disconnect" => client.leave().await,
                _ => assert_eq!(client.close_code().await, 1011, "{here}"),
            }
        }
        assert_eq!(timed(endings.recv()).await, Some(()), "{here}");
        server.service.connections().close().await;
        assert!(endings.try_recv().is_err(), "{here}: disconnect ran twice");
        assert_eq!((server.layer.hub().group_count(), server.layer.hub().mailbox_count()), (0, 0), "{here}");
    }
}

#[tokio::test]
async fn others_do_not_notice_a_panic() {
    let (ended, _endings) = mpsc::unbounded_channel();
    let made = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::new(consumer(move || {
        let nth = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Clumsy { here: if nth == 50 { "event" } else { "nowhere" }, ended: ended.clone() }
    }));
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(server.connect("/").await);
    }
    let _: channel_layer::SendReport =
        server.layer.group_send_message("all", Message::new("go")).await.unwrap();
    assert_eq!(clients[50].close_code().await, 1011);
    for (nth, client) in clients.iter_mut().enumerate().filter(|(nth, _)| *nth != 50) {
        client.send("still here").await;
        assert_eq!(client.text().await, "still here", "{nth}");
    }
}
