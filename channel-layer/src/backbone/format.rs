//! Topics and payloads, of the engine or of other software.

use std::fmt;

use crate::{
    error::{BoxError, Result},
    layer::Audience,
    message::Message,
    name::{ChannelName, GroupName},
};

/// Spreads names over shards: the same name on the same shard in every process. The second argument is the number of
/// shards, and the result is less than it.
pub type ShardOf = fn(&str, usize) -> usize;

/// The names and payloads of other software, which has no field for the engine's [envelope](super::envelope).
///
/// A format has one topic per mailbox. Features that it cannot carry are not supported: the layer does not add
/// mailboxes of other processes to groups, does not detect losses, and applies the receiver's setting for expiry.
pub trait Format: fmt::Debug + Send + Sync + 'static {
    /// The topic of a group.
    fn group_topic(&self, group: &GroupName) -> String;

    /// The topic of a mailbox or a named channel.
    fn channel_topic(&self, channel: &ChannelName) -> String;

    /// The group or channel of a topic. `None` for topics of neither kind.
    fn destination(&self, topic: &str) -> Option<Destination>;

    /// The topic on which a process sends probes to itself.
    fn probe_topic(&self, process: &str) -> String;

    /// A new name for a mailbox that cannot be guessed.
    ///
    /// # Errors
    /// A prefix that makes no valid name.
    fn mailbox_name(&self, prefix: &str) -> Result<ChannelName>;

    /// Whether [`mailbox_name`](Self::mailbox_name) makes names of this form. Only the process of a mailbox receives
    /// from it.
    fn is_mailbox(&self, channel: &ChannelName) -> bool;

    /// Encodes a message, to an audience or to a single channel.
    ///
    /// # Errors
    /// [`InvalidMessage`](crate::Error::InvalidMessage) for a message that the format cannot carry.
    fn encode(&self, message: &Message, to: Option<&Audience>) -> Result<Vec<u8>>;

    /// Decodes a message that came in by a group or a channel.
    ///
    /// # Errors
    /// Any, which is logged.
    fn decode(&self, group: Option<GroupName>, payload: &[u8]) -> Result<Decoded, BoxError>;
}

/// The recipient that a topic stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A mailbox or a named channel.
    Channel(ChannelName),
    /// A group.
    Group(GroupName),
}

/// A message in a foreign format, decoded.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The message.
    pub message: Message,
    /// The recipients, if it came in by a group.
    pub audience: Option<Audience>,
    /// A number that the copies of a message to several groups share.
    pub union: Option<u128>,
}

/// The engine's topics, below a prefix.
///
/// | topic | messages |
/// |---|---|
/// | `PREFIX:g:GROUP` | to a group |
/// | `PREFIX:n:PROCESS` | to one process: to its mailboxes, requests, answers and probes |
/// | `PREFIX:c:all` | to all processes |
/// | `PREFIX:q:CHANNEL` | to a named channel, on a bus without queues |
///
/// No name contains a `:`, so two different recipients never share a topic, whatever the prefix.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    prefix: String,
}

impl Topics {
    pub(super) fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    pub(super) fn group(&self, group: &GroupName) -> String {
        self.topic("g", group.as_str())
    }

    pub(super) fn process(&self, process: &str) -> String {
        self.topic("n", process)
    }

    pub(super) fn everyone(&self) -> String {
        self.topic("c", "all")
    }

    pub(super) fn queue(&self, channel: &ChannelName) -> String {
        self.topic("q", channel.as_str())
    }

    /// The group or named channel of a topic.
    pub(super) fn destination(&self, topic: &str) -> Option<Destination> {
        let rest = topic.strip_prefix(&self.prefix)?;
        match rest.strip_prefix(":g:") {
            Some(group) => group.parse().ok().map(Destination::Group),
            None => rest.strip_prefix(":q:")?.parse().ok().map(Destination::Channel),
        }
    }

    fn topic(&self, kind: &str, name: &str) -> String {
        let mut topic = String::with_capacity(self.prefix.len() + name.len() + 3);
        topic.push_str(&self.prefix);
        topic.push(':');
        topic.push_str(kind);
        topic.push(':');
        topic.push_str(name);
        topic
    }
}

/// Spreads by FNV-1a, which is stable over versions and platforms, unlike the standard library's hashers.
pub(super) fn spread(name: &str, shards: usize) -> usize {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % shards.max(1) as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn topics_are_unique(
            prefixes in prop::array::uniform2("[a-z:]{0,6}"),
            names in prop::array::uniform2("[a-z.]{1,4}"),
        ) {
            let topics = [0, 1].map(|at| Topics::new(&*prefixes[at]));
            let groups = [0, 1].map(|at| topics[at].group(&names[at].parse().unwrap()));
            let same = prefixes[0] == prefixes[1] && names[0] == names[1];
            prop_assert_eq!(groups[0] == groups[1], same);
            prop_assert_ne!(&groups[0], &topics[1].queue(&names[1].parse().unwrap()));
        }

        #[test]
        fn topics_round_trip(prefix in "[a-z:]{0,6}", name in "[a-z.]{1,4}") {
            let topics = Topics::new(prefix);
            let group: GroupName = name.parse().unwrap();
            let channel: ChannelName = name.parse().unwrap();
            prop_assert_eq!(topics.destination(&topics.group(&group)), Some(Destination::Group(group)));
            prop_assert_eq!(topics.destination(&topics.queue(&channel)), Some(Destination::Channel(channel)));
            prop_assert_eq!(topics.destination(&topics.everyone()), None);
        }
    }

    #[test]
    fn names_spread_evenly() {
        for shards in 1..9 {
            let mut counts = vec![0usize; shards];
            (0..1000 * shards).for_each(|n| counts[spread(&format!("group_{n}"), shards)] += 1);
            assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        }
        assert_eq!(spread("lobby", 1024), 307, "stable over versions");
    }
}
