//! Frames as bytes, server to client: never masked, never fragmented.

use bytes::Bytes;
use channel_layer::{Message, Value};
use hyper_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use crate::frame::{Close, Frame};

/// First bytes of frames: FIN and the opcode.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
pub(super) const PING: [u8; 2] = [0x89, 0];

/// Appends one frame.
pub(super) fn put_frame(out: &mut Vec<u8>, frame: &Frame) {
    match frame {
        Frame::Text(text) => put(out, TEXT, text.as_bytes()),
        Frame::Binary(bytes) => put(out, BINARY, bytes),
    }
}

/// The bytes of a `websocket.send` message: made once, however many sockets send it.
pub(super) fn encoded(message: &Message) -> &Bytes {
    struct Encoded(Bytes);
    let make = |message: &Message| {
        let mut out = Vec::with_capacity(message.size() + 10);
        match (message.get("text").and_then(Value::as_str), message.get("bytes").and_then(Value::as_bytes)) {
            (Some(text), _) => put(&mut out, TEXT, text.as_bytes()),
            (None, Some(bytes)) => put(&mut out, BINARY, bytes),
            (None, None) => tracing::warn!("a websocket.send without text or bytes: dropped"),
        }
        Encoded(out.into())
    };
    &message.derived(make).0
}

/// Appends a close frame, for when tungstenite can send none any more.
pub(super) fn put_close(out: &mut Vec<u8>, close: &Close) {
    let reason = close.sendable_reason();
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&close.code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    put(out, CLOSE, &payload);
}

/// A close as tungstenite sends it; one without a code where the code may not be sent.
pub(super) fn close_frame(close: &Close) -> Option<CloseFrame> {
    Close::is_sendable(close.code)
        .then(|| CloseFrame { code: CloseCode::from(close.code), reason: close.sendable_reason().into() })
}

/// A close as the peer sent it.
pub(super) fn received_close(frame: Option<CloseFrame>) -> Close {
    frame.map_or(Close::NO_STATUS.into(), |frame| Close::new(frame.code.into(), frame.reason.as_str()))
}

fn put(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        short @ 0..126 => out.push(short as u8),
        medium @ 126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        for (len, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xFF, 0xFF]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_frame(&mut out, &Frame::from(vec![7; len]));
            assert_eq!((&out[..header.len()], out.len()), (&header[..], header.len() + len));
        }
    }

    #[test]
    fn a_broadcast_is_encoded_once() {
        let message = Message::websocket_text("hi");
        let first = encoded(&message).as_ptr();
        assert_eq!(encoded(&message.clone()).as_ptr(), first);
        assert_eq!(&encoded(&message)[..], b"\x81\x02hi");
        assert_eq!(&encoded(&Message::websocket_bytes([1, 2]))[..], [0x82, 2, 1, 2]);
        assert!(encoded(&Message::new("websocket.send")).is_empty());
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Close::new(4000, "汉".repeat(50));
        let mut out = Vec::new();
        put_close(&mut out, &close);
        assert_eq!(out[1], 125);
        assert_eq!(close_frame(&close).unwrap().reason.len(), 123);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    #[test]
    fn codes_that_are_never_sent_become_a_close_without_a_code() {
        assert!(close_frame(&Close::from(Close::ABNORMAL)).is_none());
        assert_eq!(received_close(None).code, Close::NO_STATUS);
    }
}
