//! Input from clients of sessions: batches, tokens and cursors, resumptions over every transport.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::{ChannelLayer, MemoryLayer};
use serde_json::Value;
use tokio::time::sleep;
use ws_consumer::{
    Close, Consumer, Frame, Limits, NoEvents, NotFound, Protocols, Result, Resume, Socket, SocketService,
    consumer,
};

use super::pipe::{ask, run};

const STEPS: usize = 16;
const BATCH: usize = 10;
const MESSAGE: usize = 1000;
const LOG: usize = 8;
const SESSIONS: usize = 3;
/// Longer than a long poll waits, or a request's body may take.
const ANSWER: Duration = Duration::from_secs(120);
/// The time limit for streams, which have no end.
const LISTEN: Duration = Duration::from_secs(1);

/// Sends every message twice, so that logs overflow, and counts its `connect` and `disconnect`.
struct SessionEcho(Arc<[AtomicUsize; 2]>);

impl Consumer for SessionEcho {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["all"];

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.0[0].fetch_add(1, Relaxed);
        socket.accept().await
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.send(frame.clone()).await?;
        socket.send(frame).await
    }
    async fn disconnect(&mut self, _: &mut Socket, _: Close) {
        self.0[1].fetch_add(1, Relaxed);
    }
}

/// Steps between bytes of 0xFF, which are in no text. The first byte of each chooses the use of the rest, in which
/// `TOKEN` stands for the newest token.
pub fn sessions(input: &[u8]) {
    let (layer, counts) = (Arc::new(MemoryLayer::default()), Arc::new([const { AtomicUsize::new(0) }; 2]));
    let service = service(&layer, counts.clone());
    run(async {
        let mut token = "none".to_owned();
        for step in input.split(|byte| *byte == 0xFF).take(STEPS) {
            let Some((choice, rest)) = step.split_first() else { continue };
            let answer = take(&service, *choice, &with_token(rest, &token)).await;
            token = token_in(&answer).unwrap_or(token);
            // A connection that has just been dropped may not have ended yet.
            assert!(service.connections().len() <= SESSIONS + 2, "{}", service.connections().len());
        }
        service.connections().close().await;
        assert!(service.connections().is_empty());
        drop(service);
        sleep(Duration::from_millis(1)).await; // what listens to other processes goes with it
    });
    assert_eq!(counts[0].load(Relaxed), counts[1].load(Relaxed), "a disconnect for each connect");
    assert_eq!(layer.hub().group_count(), 0, "something is left");
}

fn service(layer: &Arc<MemoryLayer>, counts: Arc<[AtomicUsize; 2]>) -> SocketService<NotFound> {
    let (mut limits, mut transports) = (Limits::default(), Resume::default());
    limits.max_message_size = MESSAGE;
    (transports.batch_messages, transports.log_messages, transports.log_bytes) = (BATCH, LOG, LOG * MESSAGE);
    transports.max_sessions = SESSIONS;
    Protocols::new()
        .websocket(consumer(move || SessionEcho(counts.clone())))
        .limits(limits)
        .resume(transports)
        .into_service(layer.clone() as Arc<dyn ChannelLayer>)
}

async fn take(service: &SocketService<NotFound>, choice: u8, said: &[u8]) -> Vec<u8> {
    let path = if choice & 8 == 0 { "/x" } else { "/x?protocol=a" };
    // A different cookie makes the guards run again.
    let cookie = if choice & 16 == 0 { "" } else { "cookie: a=b\r\n" };
    let head = format!(" {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{cookie}");
    match choice & 7 {
        0..=3 => {
            let answer = ask(service, &post(&head, said), ANSWER).await;
            sound_batch(&answer);
            answer
        }
        4 | 5 => {
            let last = line(b"last-event-id", said);
            let bytes = [b"GET", head.as_bytes(), b"accept: text/event-stream\r\n", &last, b"\r\n"].concat();
            let answer = ask(service, &bytes, LISTEN).await;
            assert!(status(&answer) != 200 || std::str::from_utf8(&answer).is_ok(), "events are text");
            answer
        }
        6 => {
            let answer = ask(service, &socket(path, cookie, said), LISTEN).await;
            assert_ne!(status(&answer), 200);
            answer
        }
        _ => {
            sleep(Duration::from_secs(u64::from(choice >> 3) * 2)).await;
            Vec::new()
        }
    }
}

fn post(head: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("content-length: {}\r\n\r\n", body.len());
    [b"POST", head.as_bytes(), b"content-type: application/x-ndjson\r\n", length.as_bytes(), body].concat()
}

/// Parts between bytes of 0xFE: the subprotocols that are offered, and text frames.
fn socket(path: &str, cookie: &str, said: &[u8]) -> Vec<u8> {
    let mut parts = said.split(|byte| *byte == 0xFE);
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n{cookie}\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    let offer = line(b"sec-websocket-protocol", parts.next().unwrap_or_default());
    let mut bytes = [head.as_bytes(), &offer, b"\r\n"].concat();
    for text in parts {
        let text = &text[..text.len().min(125)];
        bytes.extend_from_slice(&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0]);
        bytes.extend_from_slice(text);
    }
    bytes
}

/// A header, unless it would be empty.
fn line(name: &[u8], value: &[u8]) -> Vec<u8> {
    let value: Vec<u8> = value.iter().copied().filter(|byte| !byte.is_ascii_control()).collect();
    if value.is_empty() { Vec::new() } else { [name, b": ", &value, b"\r\n"].concat() }
}

fn status(answer: &[u8]) -> u16 {
    assert!(answer.starts_with(b"HTTP/1.1 "), "no answer");
    let status = std::str::from_utf8(&answer[9..12]).ok().and_then(|status| status.parse().ok());
    let status = status.expect("a number");
    assert!(matches!(status, 101 | 200 | 400..=499 | 503), "{status}");
    status
}

/// Asserts that an answer is bounded, and well formed by the protocol.
fn sound_batch(answer: &[u8]) {
    if status(answer) != 200 {
        return;
    }
    let answer = std::str::from_utf8(answer).expect("a batch is text");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = body.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    assert!(lines.next().is_some_and(|control| control.is_object()), "{body}");
    let frames: Vec<_> = lines.collect();
    assert!(
        frames.len() <= BATCH && frames.iter().all(|frame| frame.is_string() || frame["bytes"].is_string())
    );
}

fn with_token(said: &[u8], token: &str) -> Vec<u8> {
    let (mut all, mut rest) = (Vec::new(), said);
    while let Some(at) = rest.windows(5).position(|window| window == b"TOKEN") {
        all.extend_from_slice(&rest[..at]);
        all.extend_from_slice(token.as_bytes());
        rest = &rest[at + 5..];
    }
    [&all, rest].concat()
}

fn token_in(answer: &[u8]) -> Option<String> {
    const BEFORE: &[u8] = b"\"open\":{\"token\":\"";
    let at = answer.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let token = answer[at..].split(|byte| *byte == b'"').next()?;
    Some(std::str::from_utf8(token).expect("a token is ASCII").to_owned())
}
