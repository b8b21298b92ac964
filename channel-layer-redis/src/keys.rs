//! The names of things in Redis: one place, so that no two can meet.
//!
//! | key | kind | what |
//! |---|---|---|
//! | `PREFIX:g:GROUP` | Pub/Sub channel | messages to a group |
//! | `PREFIX:n:NODE` | Pub/Sub channel | messages to one process: direct sends and probes |
//! | `PREFIX:c:all` | Pub/Sub channel | messages to all processes: flush |
//! | `PREFIX:q:CHANNEL` | list | messages that wait on a named channel |
//! | `PREFIX:l:CHANNEL` | string | the process that forwards group messages to a named channel |
//! | `PREFIX:o:CHANNEL:ID` | string | an id that a named channel has received from a group |
//!
//! Names hold no `:`, so whatever the prefix, two different things never share a key. In a cluster,
//! a hash tag will take the place of the prefix.

use channel_layer::{ChannelName, GroupName};

/// Makes keys with one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    pub(crate) fn group(&self, group: &GroupName) -> String {
        self.key("g", group.as_str())
    }

    /// The group whose channel this is.
    pub(crate) fn group_of(&self, channel: &str) -> Option<GroupName> {
        channel.strip_prefix(&self.prefix)?.strip_prefix(":g:")?.parse().ok()
    }

    pub(crate) fn node(&self, node: &str) -> String {
        self.key("n", node)
    }

    pub(crate) fn control(&self) -> String {
        self.key("c", "all")
    }

    pub(crate) fn queue(&self, channel: &ChannelName) -> String {
        self.key("q", channel.as_str())
    }

    /// Matches all queues, for `SCAN`. The prefix is taken literally, whatever characters it has.
    pub(crate) fn queue_pattern(&self) -> String {
        escape_pattern(&self.prefix) + ":q:*"
    }

    pub(crate) fn lease(&self, channel: &ChannelName) -> String {
        self.key("l", channel.as_str())
    }

    pub(crate) fn once(&self, channel: &ChannelName, id: u128) -> String {
        format!("{}:{id:032x}", self.key("o", channel.as_str()))
    }

    fn key(&self, kind: &str, name: &str) -> String {
        let mut key = String::with_capacity(self.prefix.len() + name.len() + 3);
        key.push_str(&self.prefix);
        key.push(':');
        key.push_str(kind);
        key.push(':');
        key.push_str(name);
        key
    }
}

/// A pattern that matches this text alone.
pub(crate) fn escape_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 5);
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_different_things_never_share_a_key(
            prefixes in prop::array::uniform2("[a-z:]{0,6}"),
            names in prop::array::uniform2("[a-z.]{1,4}"),
        ) {
            let [one, two] = [0, 1].map(|at| Keys::new(&prefixes[at]).group(&names[at].parse().unwrap()));
            let same = prefixes[0] == prefixes[1] && names[0] == names[1];
            prop_assert_eq!(one == two, same);
        }

        #[test]
        fn a_group_is_no_channel(name in "[a-z.]{1,4}", prefix in "[a-z:]{0,6}") {
            let keys = Keys::new(prefix);
            prop_assert_ne!(keys.group(&name.parse().unwrap()), keys.queue(&name.parse().unwrap()));
        }
    }

    #[test]
    fn a_prefix_with_wildcards_matches_itself_only() {
        assert_eq!(Keys::new("a*[b]").queue_pattern(), r"a\*\[b\]:q:*");
    }
}
