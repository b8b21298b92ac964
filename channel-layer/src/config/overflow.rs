//! The behaviour of a full queue.

use std::sync::Arc;

/// The behaviour of a bounded queue of messages that is full: of a [`Mailbox`](crate::Mailbox), or of the output of a
/// connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OverflowPolicy {
    /// Closes the queue and drops what it holds. A mailbox then ends: see [`Mailbox::next`](crate::Mailbox::next). For
    /// receivers that would rather reconnect, and read the state anew, than miss a message.
    Close,
    /// Drops the oldest messages to make room. For receivers that want the newest, such as a ticker.
    DropOldest,
    /// Replaces an unread message that has the same value in `field`, even if the queue has room; the new message waits
    /// at the end. Without such a message, the oldest makes room. For state by key: a position per player, a price per
    /// share. A message without the field replaces none.
    KeepLatest {
        /// The field's name.
        field: Arc<str>,
    },
    /// Refuses the newest message: Django Channels' rule.
    #[default]
    RefuseNewest,
}

impl OverflowPolicy {
    /// [`KeepLatest`](Self::KeepLatest) by this field.
    pub fn keep_latest(field: &str) -> Self {
        Self::KeepLatest { field: field.into() }
    }
}
