//! Django's names for channels and groups in Redis Pub/Sub.

use channel_layer::{ChannelName, Error, GroupName, Result, backbone::Destination};

/// A group is the channel `PREFIX__group__GROUP`. A mailbox is `PREFIXspecific.` with 32 hexadecimal digits. A general channel
/// has its name without a prefix.
#[derive(Clone, Debug)]
pub(super) struct PubSubKeys {
    prefix: String,
    groups: String,
}

impl PubSubKeys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), groups: format!("{prefix}__group__") }
    }

    /// Returns a new unguessable name. The prefix of the layer is omitted where it is not a valid part of a name: Redis and
    /// Python accept any channel, and a sender to a mailbox has the whole name.
    pub(super) fn mailbox(&self, prefix: &str) -> Result<ChannelName> {
        let rest = format!("{prefix}.{}", hex_id()?);
        match ChannelName::new(format!("{}{rest}", self.prefix)) {
            Ok(name) if !self.prefix.contains('!') => Ok(name),
            _ => Ok(ChannelName::new(rest)?),
        }
    }

    /// Whether the name is that of a mailbox, which ends with 32 hexadecimal digits.
    pub(super) fn is_mailbox(channel: &ChannelName) -> bool {
        let id = channel.as_str().rsplit_once('.').map_or("", |(_, id)| id);
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    pub(super) fn group(&self, group: &GroupName) -> String {
        format!("{}{group}", self.groups)
    }

    /// The topic of the probes of a process. Names contain no `:`, so it is the topic of no channel or group of Django.
    pub(super) fn probe(&self, process: &str) -> String {
        format!("{}:probe:{process}", self.prefix)
    }

    /// The group or channel of a topic. `None` for topics of neither kind.
    pub(super) fn destination(&self, topic: &str) -> Option<Destination> {
        match topic.strip_prefix(&self.groups) {
            Some(group) => group.parse().ok().map(Destination::Group),
            None => topic.parse().ok().map(Destination::Channel),
        }
    }
}

/// Returns 32 random hexadecimal digits, like Python's `uuid4().hex`.
pub(super) fn hex_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Backend(error.to_string().into()))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_equal_pythons() {
        let keys = PubSubKeys::new("asgi");
        assert_eq!(keys.group(&"room.1".parse().unwrap()), "asgi__group__room.1");
        assert_eq!(
            keys.destination("asgi__group__room.1"),
            Some(Destination::Group("room.1".parse().unwrap()))
        );
        assert_eq!(keys.destination("jobs"), Some(Destination::Channel("jobs".parse().unwrap())));
        assert_eq!(keys.destination("bad name"), None);
        let mailbox = keys.mailbox("specific").unwrap();
        let hex = mailbox.as_str().strip_prefix("asgispecific.").unwrap();
        assert!(hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        assert!(PubSubKeys::is_mailbox(&mailbox) && !PubSubKeys::is_mailbox(&"jobs.email".parse().unwrap()));
        assert!(keys.mailbox(&"long".repeat(30)).is_err());
    }

    #[test]
    fn invalid_prefixes_are_omitted() {
        for prefix in ["channels:", "app:ws", "a b", "é", "a!b", "{tag}", "\n", &"x".repeat(95)] {
            let keys = PubSubKeys::new(prefix);
            assert!(keys.mailbox("specific").unwrap().as_str().starts_with("specific."), "{prefix}");
            let group = "room".parse().unwrap();
            assert_eq!(keys.destination(&keys.group(&group)), Some(Destination::Group(group)), "{prefix}");
        }
        assert!(PubSubKeys::new("").mailbox("specific").is_ok());
        assert!(PubSubKeys::new(&"x".repeat(58)).mailbox("specific").unwrap().as_str().starts_with("xxx"));
    }
}
