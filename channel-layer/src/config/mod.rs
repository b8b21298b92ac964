//! Settings that every backend shares, with Django Channels' names and defaults.

mod capacity;
mod limits;
mod overflow;

use std::time::Duration;

pub use self::{
    capacity::CapacityRules,
    limits::{Bounds, MailboxLimits},
    overflow::OverflowPolicy,
};
use crate::name::ChannelName;

/// The capacity and the expiries of a layer.
///
/// ```
/// use std::time::Duration;
///
/// use channel_layer::{CapacityRules, LayerConfig, OverflowPolicy};
///
/// let config = LayerConfig::default()
///     .with_capacity(200)
///     .with_expiry(Duration::from_secs(30))
///     .with_channel_capacity(CapacityRules::default().glob("jobs.*", 10_000)?)
///     .with_overflow(OverflowPolicy::DropOldest);
/// assert_eq!(config.capacity_of(&"jobs.thumbnails".parse()?), 10_000);
/// assert_eq!(config.capacity_of(&"chat".parse()?), 200);
/// # Ok::<(), channel_layer::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LayerConfig {
    /// Unread messages that a channel holds; one more is refused. 100, as in Django Channels.
    /// Zero counts as one: otherwise no message could ever be received.
    pub capacity: usize,
    /// Bytes of unread messages that a channel holds, whichever limit is met first. 1 MiB.
    /// A single message is taken by an empty channel whatever its size.
    pub byte_capacity: usize,
    /// Instead of [`capacity`](Self::capacity), for channels by their names. None.
    pub channel_capacity: CapacityRules,
    /// An unread message is dropped after this time. 60 s, as in Django Channels. More than [`LONGEST`](Self::LONGEST)
    /// counts as that.
    pub expiry: Duration,
    /// A membership by name ends this long after the last `group_add`. A day, as in Django Channels. More than
    /// [`LONGEST`](Self::LONGEST) counts as that.
    /// An open [`Mailbox`](crate::Mailbox) remains a member until it is dropped.
    pub group_expiry: Duration,
    /// The behaviour of a full mailbox. It refuses the newest message, as in Django Channels.
    pub overflow: OverflowPolicy,
}

impl LayerConfig {
    /// A hundred years, which no clock overflows by.
    pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

    /// Caps all times at [`LONGEST`](Self::LONGEST), for authors of backends, who add them to the clock.
    pub fn bounded(mut self) -> Self {
        self.expiry = self.expiry.min(Self::LONGEST);
        self.group_expiry = self.group_expiry.min(Self::LONGEST);
        self
    }

    /// Sets [`capacity`](Self::capacity), in messages.
    pub fn with_capacity(mut self, messages: usize) -> Self {
        self.capacity = messages;
        self
    }

    /// Sets [`byte_capacity`](Self::byte_capacity).
    pub fn with_byte_capacity(mut self, bytes: usize) -> Self {
        self.byte_capacity = bytes;
        self
    }

    /// Sets [`channel_capacity`](Self::channel_capacity).
    pub fn with_channel_capacity(mut self, rules: CapacityRules) -> Self {
        self.channel_capacity = rules;
        self
    }

    /// Sets [`expiry`](Self::expiry).
    pub fn with_expiry(mut self, expiry: Duration) -> Self {
        self.expiry = expiry;
        self
    }

    /// Sets [`group_expiry`](Self::group_expiry).
    pub fn with_group_expiry(mut self, expiry: Duration) -> Self {
        self.group_expiry = expiry;
        self
    }

    /// Sets [`overflow`](Self::overflow).
    pub fn with_overflow(mut self, overflow: OverflowPolicy) -> Self {
        self.overflow = overflow;
        self
    }

    /// The number of unread messages that this channel holds.
    pub fn capacity_of(&self, channel: &ChannelName) -> usize {
        self.channel_capacity.capacity(channel).unwrap_or(self.capacity)
    }
}

impl Default for LayerConfig {
    fn default() -> Self {
        Self {
            capacity: 100,
            byte_capacity: 1 << 20,
            channel_capacity: CapacityRules::default(),
            expiry: Duration::from_secs(60),
            group_expiry: Duration::from_secs(86_400),
            overflow: OverflowPolicy::RefuseNewest,
        }
    }
}

/// The options of one mailbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MailboxOptions {
    /// The beginning of the channel's name. `specific`, as in Django Channels.
    pub prefix: String,
    /// Instead of the layer's [`capacity`](LayerConfig::capacity_of).
    pub capacity: Option<usize>,
    /// Instead of the layer's [`byte_capacity`](LayerConfig::byte_capacity).
    pub byte_capacity: Option<usize>,
    /// Instead of the layer's [`overflow`](LayerConfig::overflow).
    pub overflow: Option<OverflowPolicy>,
}

impl MailboxOptions {
    /// Sets the number of unread messages that the mailbox holds.
    pub fn with_capacity(mut self, messages: usize) -> Self {
        self.capacity = Some(messages);
        self
    }

    /// Sets the bytes of unread messages that the mailbox holds.
    pub fn with_byte_capacity(mut self, bytes: usize) -> Self {
        self.byte_capacity = Some(bytes);
        self
    }

    /// Sets the behaviour of the mailbox once it is full.
    pub fn with_overflow(mut self, overflow: OverflowPolicy) -> Self {
        self.overflow = Some(overflow);
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
        Self { prefix: prefix.to_owned(), capacity: None, byte_capacity: None, overflow: None }
    }
}
