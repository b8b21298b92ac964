//! The limits of one mailbox: the layer's settings and those of the mailbox put together.

use super::{LayerConfig, MailboxOptions, OverflowPolicy};
use crate::name::ChannelName;

/// The capacity of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The number of messages. Zero counts as one.
    pub messages: usize,
    /// The bytes of messages. An empty mailbox takes one message of any size.
    pub bytes: usize,
}

/// The capacity of a mailbox and its behaviour once full.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxLimits {
    /// The capacity.
    pub bounds: Bounds,
    /// The behaviour once full.
    pub overflow: OverflowPolicy,
}

impl MailboxLimits {
    /// Creates limits. [`Bounds`] alone convert as well: the newest message is then refused.
    pub fn new(bounds: Bounds, overflow: OverflowPolicy) -> Self {
        Self { bounds, overflow }
    }
}

impl From<Bounds> for MailboxLimits {
    fn from(bounds: Bounds) -> Self {
        Self::new(bounds, OverflowPolicy::default())
    }
}

impl LayerConfig {
    /// The capacity of a named channel. It refuses the newest message, whatever the policy of mailboxes is.
    pub fn bounds_of(&self, channel: &ChannelName) -> Bounds {
        Bounds { messages: self.capacity_of(channel), bytes: self.byte_capacity }
    }

    /// The limits of a mailbox that is opened under this name with these options.
    pub fn limits_of(&self, channel: &ChannelName, options: &MailboxOptions) -> MailboxLimits {
        let bounds = Bounds {
            messages: options.capacity.unwrap_or_else(|| self.capacity_of(channel)),
            bytes: options.byte_capacity.unwrap_or(self.byte_capacity),
        };
        MailboxLimits::new(bounds, options.overflow.clone().unwrap_or_else(|| self.overflow.clone()))
    }
}
