//! Frames as text: lines of JSON, and the events of an event stream.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use channel_layer::{Message, Value};
use serde::Deserialize;

use super::{log::Payload, protocol::ControlObject};
use crate::frame::{self, Frame};

/// A request's or an answer's body: a control object, then frames.
pub(super) struct FrameBatch {
    pub(super) control: ControlObject,
    pub(super) frames: Vec<Frame>,
}

/// The reason why a body is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BatchError {
    /// The body is not a batch.
    Malformed,
    /// The batch exceeds its limits.
    TooLarge,
}

/// The limits of a batch.
#[derive(Clone, Copy)]
pub(super) struct BatchLimits {
    pub(super) frames: usize,
    /// Bytes of one frame.
    pub(super) frame: usize,
}

/// The limits of a batch that another process of the same service has made.
pub(super) const UNLIMITED: BatchLimits = BatchLimits { frames: usize::MAX, frame: usize::MAX };

#[derive(Deserialize)]
struct BinaryLine<'a> {
    #[serde(borrow)]
    bytes: std::borrow::Cow<'a, str>,
}

/// Reads a batch, each byte once.
pub(super) fn parse(body: &[u8], limits: BatchLimits) -> Result<FrameBatch, BatchError> {
    let body = std::str::from_utf8(body).map_err(|_| BatchError::Malformed)?;
    let mut lines = body.split_terminator('\n');
    let control = lines.next().filter(|line| line.starts_with('{')).ok_or(BatchError::Malformed)?;
    let control = frame::read(control).map_err(|_| BatchError::Malformed)?;
    let mut frames = Vec::new();
    for line in lines {
        if frames.len() == limits.frames {
            return Err(BatchError::TooLarge);
        }
        let frame = read_frame(line).ok_or(BatchError::Malformed)?;
        if frame.len() > limits.frame {
            return Err(BatchError::TooLarge);
        }
        frames.push(frame);
    }
    Ok(FrameBatch { control, frames })
}

fn read_frame(line: &str) -> Option<Frame> {
    if line.starts_with('"') {
        return frame::read(line).ok().map(Frame::Text);
    }
    let BinaryLine { bytes } = serde_json::from_str(line).ok()?;
    BASE64.decode(&*bytes).ok().map(Frame::from)
}

/// Writes a batch.
pub(super) fn write(control: &ControlObject, payloads: &[Payload]) -> Vec<u8> {
    let mut out = control.json().into_bytes();
    out.reserve(payloads.iter().map(|payload| payload.len() + payload.len() / 3 + 16).sum());
    out.push(b'\n');
    payloads.iter().for_each(|payload| put_line(&mut out, payload));
    out
}

/// Appends a frame as a line.
fn put_line(out: &mut Vec<u8>, payload: &Payload) {
    match payload {
        Payload::Binary(bytes) => out.extend(binary_line(bytes)),
        Payload::Missing => {}
        Payload::Text(bytes) => out.extend(text_line(utf8(bytes))),
        Payload::Shared(message) => {
            struct CachedLine(Vec<u8>);
            out.extend_from_slice(
                &message.derived(|message| CachedLine(by_kind(message, text_line, binary_line))).0,
            );
        }
    }
}

/// Appends a frame as an event, without its end: the `id` follows.
pub(super) fn put_event(out: &mut Vec<u8>, payload: &Payload) {
    match payload {
        Payload::Binary(bytes) => out.extend(binary_event(bytes)),
        Payload::Missing => {}
        Payload::Text(bytes) => out.extend(text_event(utf8(bytes))),
        Payload::Shared(message) => {
            struct CachedEvent(Vec<u8>);
            out.extend_from_slice(
                &message.derived(|message| CachedEvent(by_kind(message, text_event, binary_event))).0,
            );
        }
    }
}

/// Appends a control object as an event, without its end.
pub(super) fn put_control(out: &mut Vec<u8>, control: &ControlObject) {
    frame::put_field(out, "event", "control");
    frame::put_field(out, "data", &control.json());
}

/// Encodes a message's text or bytes. A message without either is an empty text, so that the numbers stay right.
fn by_kind(message: &Message, text: fn(&str) -> Vec<u8>, binary: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    match (message.get("text").and_then(Value::as_str), message.get("bytes").and_then(Value::as_bytes)) {
        (None, Some(bytes)) => binary(bytes),
        (content, _) => text(content.unwrap_or_default()),
    }
}

fn text_line(text: &str) -> Vec<u8> {
    let mut line = serde_json::to_vec(text).expect("text is JSON");
    line.push(b'\n');
    line
}

fn binary_line(bytes: &[u8]) -> Vec<u8> {
    format!("{{\"bytes\":\"{}\"}}\n", BASE64.encode(bytes)).into_bytes()
}

/// Encodes a text as an event; one with carriage returns, which are line ends in an event stream, as JSON.
fn text_event(text: &str) -> Vec<u8> {
    if text.contains('\r') {
        return [b"event: text\ndata: ".as_slice(), &text_line(text)].concat();
    }
    let mut event = Vec::with_capacity(text.len() + 16);
    frame::put_field(&mut event, "data", text);
    event
}

fn binary_event(bytes: &[u8]) -> Vec<u8> {
    format!("event: binary\ndata: {}\n", BASE64.encode(bytes)).into_bytes()
}

fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it came from a string")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits { frames: 3, frame: 8 };

    fn read(body: &str) -> Result<Vec<Frame>, BatchError> {
        parse(body.as_bytes(), LIMITS).map(|batch| batch.frames)
    }

    #[test]
    fn batches_are_parsed() {
        let frames = read("{\"cursor\":3}\n\"a\\nb\"\n{\"bytes\":\"AAE=\"}\n").unwrap();
        assert_eq!(frames, [Frame::from("a\nb"), Frame::from(vec![0, 1])]);
        assert_eq!(parse(b"{\"cursor\":3,\"later\":1}", LIMITS).unwrap().control.cursor, Some(3));
    }

    #[test]
    fn lone_surrogates_are_replaced() {
        let control = |body: &str| parse(body.as_bytes(), LIMITS).unwrap().control;
        let reason = |body| control(body).close.unwrap().reason;
        assert_eq!(reason(r#"{"close":{"code":4000,"reason":"no \ud83d"}}"#), "no \u{fffd}");
        assert_eq!(reason(r#"{"close":{"code":4000,"reason":"\uD83D\ude00"}}"#), "\u{1f600}");
        assert_eq!(control(r#"{"ping":"\udead"}"#).ping, Some("\u{fffd}".into()));
    }

    #[test]
    fn malformed_and_too_large_differ() {
        for wrong in
            ["", "\n", "[]", "{}\nx\n", "{}\n{\"bytes\":\"?\"}", "{}\n\n", "{\"cursor\":-1}", "{}\n\"a"]
        {
            assert_eq!(read(wrong).unwrap_err(), BatchError::Malformed, "{wrong}");
        }
        assert_eq!(parse(b"{}\n\"\xFF\"", LIMITS).err(), Some(BatchError::Malformed));
        for wrong in ["{}\n\"\"\n\"\"\n\"\"\n\"\"", "{}\n\"123456789\""] {
            assert_eq!(read(wrong).unwrap_err(), BatchError::TooLarge, "{wrong}");
        }
    }

    #[test]
    fn empty_lines_are_refused_at_once() {
        assert_eq!(parse(&b"\n".repeat(1 << 20), LIMITS).err(), Some(BatchError::Malformed));
        let after_a_control = [b"{}".to_vec(), b"\n".repeat(1 << 20)].concat();
        assert_eq!(parse(&after_a_control, LIMITS).err(), Some(BatchError::Malformed));
    }

    #[test]
    fn texts_become_events() {
        let event = |text: &str| String::from_utf8(text_event(text)).unwrap();
        assert_eq!(event("a"), "data: a\n");
        assert_eq!(event(""), "data: \n");
        assert_eq!(event("a\n b\n"), "data: a\ndata:  b\ndata: \n");
        assert_eq!(event("a\rb"), "event: text\ndata: \"a\\rb\"\n");
        assert_eq!(String::from_utf8(binary_event(&[0, 1])).unwrap(), "event: binary\ndata: AAE=\n");
    }

    proptest! {
        #[test]
        fn batches_round_trip(texts in proptest::collection::vec(any::<String>(), 0..5), bytes: Vec<u8>) {
            let mut frames: Vec<_> = texts.into_iter().map(Frame::Text).collect();
            frames.push(Frame::from(bytes));
            let payloads: Vec<_> = frames.iter().cloned().map(Payload::from).collect();
            let written = write(&ControlObject::ack(7), &payloads);
            let read = parse(&written, BatchLimits { frames: 10, frame: 1 << 20 }).unwrap();
            prop_assert_eq!(read.control.ack, Some(7));
            prop_assert_eq!(read.frames, frames);
        }

        #[test]
        fn no_body_panics(body: Vec<u8>) {
            let _ = parse(&body, LIMITS);
        }
    }
}
