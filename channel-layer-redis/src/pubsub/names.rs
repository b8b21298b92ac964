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

    /// Returns a new name that cannot be guessed. The layer's prefix is omitted where it is no valid part of
    /// a name: Redis and Python accept any channel, and a sender to a mailbox has its whole name.
    pub(super) fn draw(&self, prefix: &str) -> Result<ChannelName> {
        let rest = format!("{prefix}.{}", hex_id()?);
        match ChannelName::new(format!("{}{rest}", self.prefix)) {
            Ok(name) if !self.prefix.contains('!') => Ok(name),
            _ => Ok(ChannelName::new(rest)?),
        }
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

    #[test]
    fn mailboxes_open_under_a_prefix_that_is_no_part_of_a_name() {
        for prefix in ["channels:", "app:ws", "a b", "é", "a!b", "{tag}", "\n", &"x".repeat(95)] {
            let names = Names::new(prefix);
            assert!(names.draw("specific").unwrap().as_str().starts_with("specific."), "{prefix}");
            let group = "room".parse().unwrap();
            assert_eq!(names.place(&names.group(&group)), Some(Place::Group(group)), "{prefix}");
        }
        assert!(Names::new("").draw("specific").is_ok());
        assert!(Names::new(&"x".repeat(58)).draw("specific").unwrap().as_str().starts_with("xxx"));
    }
}
