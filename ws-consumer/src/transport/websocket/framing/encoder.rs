//! Encoding of the server's frames, which are never masked and never fragmented.

use bytes::Bytes;
use channel_layer::{Message, Value};
use hyper_tungstenite::tungstenite::protocol::{
    CloseFrame,
    frame::{
        FrameHeader,
        coding::{CloseCode, Control, Data, OpCode},
    },
};

use crate::frame::{Close, Frame};

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
const CLOSE: OpCode = OpCode::Control(Control::Close);
const PING: OpCode = OpCode::Control(Control::Ping);

/// Appends a data frame.
pub(in crate::transport::websocket) fn put_frame(out: &mut Vec<u8>, frame: &Frame) {
    match frame {
        Frame::Text(text) => put(out, TEXT, text.as_bytes()),
        Frame::Binary(bytes) => put(out, BINARY, bytes),
    }
}

/// Returns a `websocket.send` message as a frame, which is encoded once for all connections.
pub(in crate::transport::websocket) fn encoded(message: &Message) -> &Bytes {
    struct EncodedFrame(Bytes);
    let make = |message: &Message| {
        let mut out = Vec::with_capacity(message.size() + 10);
        match (message.get("text").and_then(Value::as_str), message.get("bytes").and_then(Value::as_bytes)) {
            (Some(text), _) => put(&mut out, TEXT, text.as_bytes()),
            (None, Some(bytes)) => put(&mut out, BINARY, bytes),
            (None, None) => tracing::warn!("a websocket.send without text or bytes: dropped"),
        }
        EncodedFrame(out.into())
    };
    &message.derived(make).0
}

/// Appends an empty ping.
pub(in crate::transport::websocket) fn put_ping(out: &mut Vec<u8>) {
    put(out, PING, &[]);
}

/// Appends a close frame, where tungstenite has failed and sends none.
pub(in crate::transport::websocket) fn put_close(out: &mut Vec<u8>, close: &Close) {
    let reason = close.sendable_reason();
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&close.code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    put(out, CLOSE, &payload);
}

/// Converts a close for tungstenite; `None`, a close frame without a code, if the code may not be sent.
pub(in crate::transport::websocket) fn close_frame(close: &Close) -> Option<CloseFrame> {
    Close::is_sendable(close.code)
        .then(|| CloseFrame { code: CloseCode::from(close.code), reason: close.sendable_reason().into() })
}

/// Converts the peer's close.
pub(in crate::transport::websocket) fn received_close(frame: Option<CloseFrame>) -> Close {
    frame.map_or(Close::NO_STATUS.into(), |frame| Close::new(frame.code.into(), frame.reason.as_str()))
}

fn put(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload.len() as u64, out).expect("a vector takes every write");
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_possible() {
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
    fn encodes_a_broadcast_once() {
        let message = Message::websocket_text("hi");
        let first = encoded(&message).as_ptr();
        assert_eq!(encoded(&message.clone()).as_ptr(), first);
        assert_eq!(&encoded(&message)[..], b"\x81\x02hi");
        assert_eq!(&encoded(&Message::websocket_bytes([1, 2]))[..], [0x82, 2, 1, 2]);
        assert!(encoded(&Message::new("websocket.send")).is_empty());
    }

    #[test]
    fn cuts_reasons_between_characters() {
        let close = Close::new(4000, "汉".repeat(50));
        let mut out = Vec::new();
        put_close(&mut out, &close);
        assert_eq!(out[1], 125);
        assert_eq!(close_frame(&close).unwrap().reason.len(), 123);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    #[test]
    fn omits_codes_that_must_not_be_sent() {
        assert!(close_frame(&Close::from(Close::ABNORMAL)).is_none());
        assert_eq!(received_close(None).code, Close::NO_STATUS);
    }
}
