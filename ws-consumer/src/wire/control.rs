//! Messages of the layer that are meant for the connection itself, whatever runs behind it.

use channel_layer::{ChannelName, Message, Value};

use crate::frame::Close;

/// The type of a message that closes the connections that receive it, with `code` and `reason`.
pub(crate) const CLOSE: &str = "websocket.close";
/// The type of a message that asks whether somebody is there; the answer goes to the channel `reply_to`.
pub(crate) const WHO: &str = "websocket.who";

/// What a message asks of the connection.
pub(crate) enum Control {
    Close(Close),
    /// An ordinary event.
    Nothing,
    Who(Who),
}

/// Whom to tell that one is there, and as whom.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) reply_to: ChannelName,
    pub(crate) user: String,
}

impl Control {
    /// Kept with the message: a thousand members look at it, and one reads it.
    pub(crate) fn of(message: &Message) -> &Self {
        message.derived(read)
    }

    pub(crate) fn close(&self) -> Option<&Close> {
        match self {
            Self::Close(close) => Some(close),
            _ => None,
        }
    }

    pub(crate) fn who(&self) -> Option<&Who> {
        match self {
            Self::Who(who) => Some(who),
            _ => None,
        }
    }
}

fn read(message: &Message) -> Control {
    match message.event_type() {
        Some(CLOSE) => Control::Close(read_close(message)),
        Some(WHO) => read_who(message).map_or(Control::Nothing, Control::Who),
        _ => Control::Nothing,
    }
}

fn read_close(message: &Message) -> Close {
    let code = message.get("code").and_then(Value::as_i64).and_then(|code| u16::try_from(code).ok());
    let reason = message.get("reason").and_then(Value::as_str).unwrap_or_default();
    Close::new(code.filter(|code| Close::is_sendable(*code)).unwrap_or(Close::NORMAL), reason)
}

fn read_who(message: &Message) -> Option<Who> {
    let text = |key| message.get(key).and_then(Value::as_str);
    Some(Who { reply_to: text("reply_to")?.parse().ok()?, user: text("user")?.to_owned() })
}
