//! What holds for one mailbox, once the layer's settings and its own are put together.

use super::{LayerConfig, MailboxOptions, Policy};
use crate::name::ChannelName;

/// How many messages and bytes a mailbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages. Zero counts as one.
    pub messages: usize,
    /// Bytes of messages. An empty mailbox takes one message of any size.
    pub bytes: usize,
}

/// How much a mailbox holds, and what it does beyond that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// How much it holds.
    pub bounds: Bounds,
    /// What it does with more.
    pub policy: Policy,
}

impl Terms {
    /// Bounds with a policy. Bounds alone convert as well: then the newest message is refused.
    pub fn new(bounds: Bounds, policy: Policy) -> Self {
        Self { bounds, policy }
    }
}

impl From<Bounds> for Terms {
    fn from(bounds: Bounds) -> Self {
        Self::new(bounds, Policy::default())
    }
}

impl LayerConfig {
    /// How much a named channel holds: it refuses the newest message, whatever the mailboxes' policy is.
    pub fn bounds_of(&self, channel: &ChannelName) -> Bounds {
        Bounds { messages: self.capacity_of(channel), bytes: self.byte_capacity }
    }

    /// What holds for a mailbox with this name that is opened with these options.
    pub fn terms_of(&self, channel: &ChannelName, options: &MailboxOptions) -> Terms {
        let bounds = Bounds {
            messages: options.capacity.unwrap_or_else(|| self.capacity_of(channel)),
            bytes: options.byte_capacity.unwrap_or(self.byte_capacity),
        };
        Terms::new(bounds, options.policy.clone().unwrap_or_else(|| self.policy.clone()))
    }
}
