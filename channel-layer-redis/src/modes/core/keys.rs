//! Django's keys.

use channel_layer::{ChannelName, GroupName};

/// | key | kind | content |
/// |---|---|---|
/// | `PREFIX` + name up to its `!` | zset | messages, by time |
/// | `PREFIX:group:GROUP` | zset | members, by the time they joined |
#[derive(Clone, Debug)]
pub(super) struct CoreKeys {
    prefix: String,
}

impl CoreKeys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The key of the messages to a channel, and to all other mailboxes of its process.
    pub(super) fn messages(&self, non_local: &str) -> String {
        format!("{}{non_local}", self.prefix)
    }

    pub(super) fn group(&self, group: &GroupName) -> String {
        self.groups() + group.as_str()
    }

    /// The prefix of the keys of all groups.
    pub(super) fn groups(&self) -> String {
        format!("{}:group:", self.prefix)
    }

    /// The general channel of a key, if it is the key of one.
    pub(super) fn channel_of(&self, key: &[u8]) -> Option<ChannelName> {
        std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?.parse().ok()
    }

    /// The prefix of all keys. Django's flush deletes every key with this prefix.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
}
