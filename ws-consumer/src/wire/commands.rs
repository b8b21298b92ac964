//! Messages of the layer for the connection itself. The application does not see them.

use channel_layer::{ChannelName, Message, Value};

use crate::frame::Close;

/// The type of a message that closes the connections that receive it, with `code` and `reason`.
pub(crate) const CLOSE: &str = "websocket.close";
/// The type of a message that asks whether a user has a connection, and of the answer, which goes to the channel
/// `reply_to`.
pub(crate) const PROBE: &str = "websocket.who";

/// The command that a message holds for the connection.
pub(crate) enum LayerCommand {
    Close(Close),
    /// None: the message is an ordinary event.
    Event,
    Probe(Probe),
}

/// A question whether a user has a connection.
#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) reply_to: ChannelName,
    pub(crate) user: String,
}

impl LayerCommand {
    /// Returns the command in a message. Kept with the message: a thousand members look at it, and one reads it.
    pub(crate) fn from_message(message: &Message) -> &Self {
        message.derived(read)
    }

    pub(crate) fn close(&self) -> Option<&Close> {
        if let Self::Close(close) = self { Some(close) } else { None }
    }

    pub(crate) fn probe(&self) -> Option<&Probe> {
        if let Self::Probe(probe) = self { Some(probe) } else { None }
    }
}

fn read(message: &Message) -> LayerCommand {
    match message.event_type() {
        Some(CLOSE) => LayerCommand::Close(read_close(message)),
        Some(PROBE) => read_probe(message).map_or(LayerCommand::Event, LayerCommand::Probe),
        _ => LayerCommand::Event,
    }
}

fn read_close(message: &Message) -> Close {
    let code = message.get("code").and_then(Value::as_i64).and_then(|code| u16::try_from(code).ok());
    let reason = message.get("reason").and_then(Value::as_str).unwrap_or_default();
    Close::new(code.filter(|code| Close::is_sendable(*code)).unwrap_or(Close::NORMAL), reason)
}

fn read_probe(message: &Message) -> Option<Probe> {
    let text = |key| message.get(key).and_then(Value::as_str);
    Some(Probe { reply_to: text("reply_to")?.parse().ok()?, user: text("user")?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsendable_codes_become_normal() {
        for (code, sent) in [(4001, 4001), (1006, 1000), (70_000, 1000), (-1, 1000)] {
            let message = Message::new(CLOSE).with("code", code).with("reason", "gone");
            let close = LayerCommand::from_message(&message).close();
            assert_eq!(close, Some(&Close::new(sent, "gone")));
        }
    }

    #[test]
    fn a_broken_probe_is_an_event() {
        let probe = Message::new(PROBE).with("user", "42");
        assert!(LayerCommand::from_message(&probe).probe().is_none());
        let probe = Message::new(PROBE).with("user", "42").with("reply_to", "specific.a!b");
        assert!(LayerCommand::from_message(&probe).probe().is_some_and(|probe| probe.user == "42"));
    }
}
