//! What a full mailbox does.

use std::sync::Arc;

/// What a mailbox does with a message when it holds as much as it may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// It closes: what waits is dropped, and [`Mailbox::next`](crate::Mailbox::next) ends. For those who would
    /// rather reconnect, and read the state anew, than miss a message.
    Close,
    /// The oldest messages make room. For those who want to see the newest, such as a ticker.
    DropOldest,
    /// A message takes the place of an unread one with the same value in the field `by`, full or not; it waits
    /// at the end. When the mailbox is full of others, the oldest makes room. For state by key: a position per
    /// player, a price per share. A message without the field replaces none.
    KeepLatest {
        /// The field's name.
        by: Arc<str>,
    },
    /// The newest message is refused: Django Channels' rule.
    #[default]
    RefuseNewest,
}

impl Policy {
    /// [`KeepLatest`](Self::KeepLatest) by this field.
    pub fn keep_latest(by: &str) -> Self {
        Self::KeepLatest { by: by.into() }
    }
}
