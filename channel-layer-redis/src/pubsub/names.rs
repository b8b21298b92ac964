//! Django's names for channels and groups in Redis Pub/Sub.

use channel_layer::{ChannelName, GroupName, Result};

use crate::shared::hex_id;

/// A group is the channel `PREFIX__group__GROUP`, a channel of one's own is `PREFIXspecific.` and 32 hexadecimal
/// digits, and a general channel is called as it is, without any prefix.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    groups: String,
}

/// What a Redis channel stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Channel(ChannelName),
    Group(GroupName),
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), groups: format!("{prefix}__group__") }
    }

    /// A new name that nobody can guess.
    pub(super) fn draw(&self, prefix: &str) -> Result<ChannelName> {
        Ok(ChannelName::new(format!("{}{prefix}.{}", self.prefix, hex_id()?))?)
    }

    pub(super) fn group(&self, group: &GroupName) -> String {
        format!("{}{group}", self.groups)
    }

    /// Nothing for names that are neither.
    pub(super) fn place(&self, channel: &str) -> Option<Place> {
        match channel.strip_prefix(&self.groups) {
            Some(group) => group.parse().ok().map(Place::Group),
            None => channel.parse().ok().map(Place::Channel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pythons() {
        let names = Names::new("asgi");
        assert_eq!(names.group(&"room.1".parse().unwrap()), "asgi__group__room.1");
        assert_eq!(names.place("asgi__group__room.1"), Some(Place::Group("room.1".parse().unwrap())));
        assert_eq!(names.place("jobs"), Some(Place::Channel("jobs".parse().unwrap())));
        assert_eq!(names.place("bad name"), None);
        let own = names.draw("specific").unwrap();
        let hex = own.as_str().strip_prefix("asgispecific.").unwrap();
        assert!(hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        assert!(names.draw(&"long".repeat(30)).is_err());
    }
}
