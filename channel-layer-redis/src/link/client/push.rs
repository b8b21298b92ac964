//! Messages of the server that are no replies.

use std::sync::Arc;

use redis::{PushInfo, PushKind, Value};

/// A message that is not the reply to a command.
#[derive(Debug)]
pub(crate) enum ServerPush {
    /// The connection has ended.
    Disconnected,
    /// A message on a subscribed channel.
    Message { channel: Vec<u8>, payload: Vec<u8> },
    /// A push that cannot be read.
    Unreadable(String),
}

/// The callback for pushes. Called inside the task of the connection, so it must not block.
pub(crate) type OnPush = Arc<dyn Fn(ServerPush) + Send + Sync>;

impl ServerPush {
    pub(super) fn from_info(info: PushInfo) -> Option<Self> {
        let mut data = info.data.into_iter();
        match info.kind {
            PushKind::Disconnection => Some(Self::Disconnected),
            PushKind::Message => match (data.next().and_then(bytes), data.next().and_then(bytes)) {
                (Some(channel), Some(payload)) => Some(Self::Message { channel, payload }),
                _ => Some(Self::Unreadable("a message without channel or payload".to_owned())),
            },
            // Replies to commands, which await them.
            PushKind::Subscribe | PushKind::Unsubscribe => None,
            other => Some(Self::Unreadable(format!("a push of kind {other:?}"))),
        }
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}
