//! Equal frames that many connections make of one message, kept once.

use std::sync::Mutex;

use channel_layer::{Message, Value};

use super::values::Outgoing;
use crate::{frame::Frame, sync::lock};

/// Frames below this length are cheaper to keep than to compare.
const LEAST: usize = 128;
/// Frames of one message that are remembered: those of a few languages or roles. Frames made for one member are not
/// shared.
const MOST: usize = 8;

/// The frames that hooks have made of a message so far. Locked for a comparison.
#[derive(Default)]
struct SharedFrames(Mutex<Vec<Message>>);

/// Returns the output for a frame that a hook sends while it handles `event`: an equal frame of another connection, if
/// there is one.
pub(super) fn output_for(event: &Message, frame: Frame) -> Outgoing {
    if frame.len() < LEAST {
        return Outgoing::Frame(frame);
    }
    let mut frames = lock(&event.derived(|_| SharedFrames::default()).0);
    if let Some(known) = frames.iter().find(|known| is_equal(known, &frame)) {
        return Outgoing::Shared(known.clone());
    }
    if frames.len() == MOST {
        return Outgoing::Frame(frame);
    }
    let message = match frame {
        // Without room for more: it may be kept for long.
        Frame::Text(text) => Message::websocket_text(text.into_boxed_str()),
        Frame::Binary(bytes) => Message::websocket_bytes(bytes.to_vec()),
    };
    frames.push(message.clone());
    Outgoing::Shared(message)
}

fn is_equal(known: &Message, frame: &Frame) -> bool {
    match frame {
        Frame::Text(text) => known.get("text").and_then(Value::as_str) == Some(text),
        Frame::Binary(bytes) => known.get("bytes").and_then(Value::as_bytes) == Some(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(output: &Outgoing) -> Option<*const Value> {
        match output {
            Outgoing::Shared(message) => message.get("text").or(message.get("bytes")).map(std::ptr::from_ref),
            _ => None,
        }
    }

    #[test]
    fn equal_frames_are_kept_once() {
        let event = Message::new("said");
        let text = "x".repeat(LEAST);
        for frame in [Frame::from(&*text), Frame::from(text.clone().into_bytes())] {
            let [one, other] = [(); 2].map(|()| address(&output_for(&event, frame.clone())));
            assert!(one.is_some() && one == other, "{frame:?}");
            let elsewhere = address(&output_for(&Message::new("said"), frame));
            assert_ne!(one, elsewhere, "of another event");
        }
        assert!(address(&output_for(&event, "short".into())).is_none());
    }

    #[test]
    fn distinct_frames_are_bounded() {
        let event = Message::new("said");
        let made: Vec<_> =
            (0..100).map(|member| output_for(&event, format!("{member:0200}").into())).collect();
        assert_eq!(made.iter().filter_map(address).count(), MOST);
    }
}
