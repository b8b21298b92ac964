//! Messages of the server that are no replies.

use std::sync::Arc;

use redis::{PushInfo, PushKind, Value};

/// Something the server, or the end of the connection, says by itself.
#[derive(Debug)]
pub(crate) enum ServerPush {
    /// The connection is over.
    Disconnected,
    /// A message on a channel that was subscribed to.
    Message { channel: Vec<u8>, payload: Vec<u8> },
    /// A message, or another kind of push, that cannot be read.
    Unreadable(String),
}

/// The callback for pushes. Called inside the connection's own task, so it must never wait.
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
            // Answers to our commands, which wait for them.
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
