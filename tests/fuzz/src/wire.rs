//! Frames and their contents.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use channel_layer::{ChannelLayer, MemoryLayer, Message, Value};
use serde::Deserialize;
use ws_consumer::{
    Close, Consumer, Frame, Json, Limits, MessagePack, Multiplexer, NoEvents, Protocols, Result, Router,
    SerdeCodec, Socket, consumer,
};

use super::pipe::{converse, run};

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                           sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Echoes, and counts its `connect` and `disconnect`.
struct CountingEcho(Arc<[AtomicUsize; 2]>);

impl Consumer for CountingEcho {
    type Event = NoEvents;
    const GROUPS: &'static [&'static str] = &["all"];

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.0[0].fetch_add(1, Relaxed);
        socket.accept().await
    }
    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        socket.send(frame).await
    }
    async fn disconnect(&mut self, _: &mut Socket, _: Close) {
        self.0[1].fetch_add(1, Relaxed);
    }
}

/// Asserts that the answers do not depend on how the bytes are cut. The first byte seeds the cuts; its lowest bit chooses
/// between an echo and a multiplexer.
pub fn frames(input: &[u8]) {
    let Some((choice, frames)) = input.split_first() else { return };
    let answers = [None, Some(u64::from(*choice))].map(|seed| answer(frames, seed, choice & 1 == 1));
    assert_eq!(answered(&answers[0]), answered(&answers[1]), "how it is cut makes a difference");
}

fn answer(frames: &[u8], seed: Option<u64>, multiplex: bool) -> Vec<u8> {
    let (layer, counts) = (Arc::new(MemoryLayer::default()), Arc::new([const { AtomicUsize::new(0) }; 2]));
    let made = counts.clone();
    let echo = consumer(move || CountingEcho(made.clone()));
    let protocols = match multiplex {
        true => Protocols::new().websocket(Multiplexer::new(Router::new().application("/{room}/", echo))),
        false => Protocols::new().websocket(echo),
    };
    let mut limits = Limits::default();
    (limits.max_message_size, limits.max_fragments) = (2000, 10);
    let service = protocols.limits(limits).into_service(layer.clone() as Arc<dyn ChannelLayer>);
    let answer = run(converse(&service, &[HANDSHAKE, frames].concat(), seed));
    assert_eq!(counts[0].load(Relaxed), counts[1].load(Relaxed), "a disconnect for each connect");
    assert_eq!((layer.hub().group_count(), layer.hub().mailbox_count()), (0, 0), "something is left");
    answer
}

/// The server's messages, and its close code. Pongs are left out, as several pings can share one.
fn answered(answer: &[u8]) -> (Vec<&[u8]>, Option<u16>) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "the handshake is sound");
    let (mut rest, mut messages) = (&answer[end..], Vec::new());
    while let [first, len, after @ ..] = rest {
        let (len, after) = match *len {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            short => (usize::from(short), after),
        };
        let (payload, after) = after.split_at(len); // masked or cut off, it would be too long
        match first {
            0x81 => assert!(std::str::from_utf8(payload).is_ok(), "text that is none"),
            0x82 | 0x89 | 0x8A => {}
            0x88 => {
                assert!(after.is_empty(), "something after a close");
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                return (messages, code);
            }
            other => panic!("a server does not send {other:#x}"),
        }
        if first & 0x08 == 0 {
            messages.push(payload);
        }
        rest = after;
    }
    assert!(rest.is_empty(), "half a frame");
    (messages, None)
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
#[allow(dead_code)]
enum Event {
    #[serde(rename = "chat.message")]
    Chat { text: String, n: Option<i8>, list: Vec<f32> },
    #[serde(rename = "tree")]
    Tree { left: Box<Option<Event>>, bytes: Option<Vec<u8>> },
    #[serde(rename = "any")]
    Any(serde_json::Value),
}

/// Values in MessagePack and JSON, from a peer and from a client: each value that can be read is written and read again
/// unchanged.
pub fn values(input: &[u8]) {
    let pack = rmp_serde::from_slice::<Value>(input).ok();
    if let Some(value) = &pack {
        let written = rmp_serde::to_vec(value).expect("it was read");
        let again: Value = rmp_serde::from_slice(&written).expect("it was written");
        assert_eq!(rmp_serde::to_vec(&again).expect("it was read"), written);
    }
    let text = serde_json::from_slice::<Value>(input).ok();
    if let Some(value) = &text {
        let written = serde_json::to_vec(value).expect("it was read");
        let again: Value = serde_json::from_slice(&written).expect("it was written");
        assert_eq!(serde_json::to_vec(&again).expect("it was read"), written);
    }
    for value in [pack, text].into_iter().flatten() {
        let _ = serde_json::to_value(&value);
        let Value::Map(map) = value else { continue };
        if let Ok(message) = Message::try_from(map) {
            let _ = message.decode::<Event>();
            assert!(message.size() < 1000 + 100 * input.len(), "its size is out of proportion");
            let _ = format!("{message:?}");
        }
    }
    from_a_client(input);
}

/// Messages from a peer: each is read as serde reads it, and read again after it was written.
pub fn messages(input: &[u8]) {
    let Ok(message) = Message::from_bytes(input) else { return };
    let written = message.to_bytes().expect("it was read");
    assert_eq!(written.len(), message.size());
    let again = Message::from_bytes(&written).expect("it was written");
    assert_eq!(again.to_bytes().expect("it was read"), written);
    let theirs: Message = rmp_serde::from_slice(input).expect("serde reads more");
    assert_eq!(rmp_serde::to_vec(&theirs).expect("it was read"), written);
    let _ = message.decode::<Event>();
}

fn from_a_client(input: &[u8]) {
    let binary = Frame::from(input.to_vec());
    let _ = MessagePack::from_frame::<Event>(&binary);
    let _ = MessagePack::from_frame::<serde_json::Value>(&binary);
    if let Ok(text) = std::str::from_utf8(input) {
        let text = Frame::from(text);
        let _ = Json::from_frame::<Event>(&text);
        let _ = Json::from_frame::<serde_json::Value>(&text);
    }
}
