//! Frames that are nested too deep, or announce too much.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use ws_consumer::{Consumer, Frame, Json, MessagePack, NoEvents, Result, SerdeCodec, Socket, consumer};

use crate::support::Server;

/// Decodes every frame.
#[derive(Default)]
struct Reader;

impl Consumer for Reader {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let read: Result<Value> = match &frame {
            Frame::Text(_) => Json::from_frame(&frame),
            Frame::Binary(_) => MessagePack::from_frame(&frame),
        };
        socket.send_text(if read.is_ok() { "read" } else { "refused" }).await
    }
}

/// A client's frame of any length, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = [&[first, 0xFF][..], &(payload.len() as u64).to_be_bytes(), &[0; 4]].concat();
    [&head, payload].concat()
}

#[tokio::test]
async fn deep_frames_are_bad_input() {
    let server = Server::new(consumer(Reader::default));
    let mut client = server.connect("/").await;
    for (what, first, unit) in [
        ("lists in JSON", 0x81, &b"["[..]),
        ("maps in JSON", 0x81, b"{\"a\":"),
        ("lists in MessagePack", 0x82, b"\x91"),
        ("maps in MessagePack", 0x82, b"\x81\xa1a"),
        ("long lists in MessagePack", 0x82, b"\xdd\x00\x00\x00\x01"),
    ] {
        client.socket.get_mut().write_all(&frame(first, &unit.repeat(200_000))).await.unwrap();
        assert_eq!(client.text().await, "refused", "{what}");
    }
}

/// Frames that would take 4 GiB each if the server trusted their lengths.
#[tokio::test]
async fn forged_lengths_allocate_nothing() {
    let server = Server::new(consumer(Reader::default));
    let mut client = server.connect("/").await;
    for kind in [0xC6_u8, 0xC9, 0xDB, 0xDD, 0xDF] {
        client.socket.get_mut().write_all(&frame(0x82, &[kind, 0xFF, 0xFF, 0xFF, 0xFF])).await.unwrap();
        assert_eq!(client.text().await, "refused", "{kind:#x}");
    }
    let nested = [0xDD, 0xFF, 0xFF, 0xFF, 0xFF].repeat(1000);
    client.socket.get_mut().write_all(&frame(0x82, &nested)).await.unwrap();
    assert_eq!(client.text().await, "refused");
}
