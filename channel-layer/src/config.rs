//! Settings that every backend shares, with Django Channels' names and defaults.

use std::time::Duration;

/// How much a layer keeps, and for how long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LayerConfig {
    /// Unread messages that a channel holds; one more is refused. 100, as in Django Channels.
    pub capacity: usize,
    /// Bytes of unread messages that a channel holds, whichever limit is met first. 1 MiB.
    /// A single message is taken by an empty channel whatever its size.
    pub byte_capacity: usize,
    /// An unread message is dropped after this time. 60 s, as in Django Channels.
    pub expiry: Duration,
    /// A membership by name ends this long after the last `group_add`. A day, as in Django Channels.
    /// An open [`Mailbox`](crate::Mailbox) stays a member for as long as it lives.
    pub group_expiry: Duration,
}

impl Default for LayerConfig {
    fn default() -> Self {
        Self {
            capacity: 100,
            byte_capacity: 1 << 20,
            expiry: Duration::from_secs(60),
            group_expiry: Duration::from_secs(86_400),
        }
    }
}

/// How one mailbox is to be opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MailboxOptions {
    /// The beginning of the channel's name. `specific`, as in Django Channels.
    pub prefix: String,
    /// Instead of the layer's [`capacity`](LayerConfig::capacity).
    pub capacity: Option<usize>,
    /// Instead of the layer's [`byte_capacity`](LayerConfig::byte_capacity).
    pub byte_capacity: Option<usize>,
}

impl MailboxOptions {
    /// Sets how many unread messages the mailbox holds.
    pub fn with_capacity(mut self, messages: usize) -> Self {
        self.capacity = Some(messages);
        self
    }

    /// Sets how many bytes of unread messages the mailbox holds.
    pub fn with_byte_capacity(mut self, bytes: usize) -> Self {
        self.byte_capacity = Some(bytes);
        self
    }
}

impl Default for MailboxOptions {
    fn default() -> Self {
        Self::from("specific")
    }
}

impl From<&str> for MailboxOptions {
    fn from(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), capacity: None, byte_capacity: None }
    }
}
