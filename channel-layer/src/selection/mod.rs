//! Subscriptions to a part of a group's messages: filters over tags, and summaries instead of messages.

mod condition;
mod filter;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    condition::{Condition, Tag},
    filter::TagFilter,
};
use crate::{error::Result, message::Message, name::GroupName};

/// The type of the summaries that a [passive](Selection::Passive) member receives: see [`GroupActivity`].
pub const GROUP_ACTIVITY: &str = "group.activity";

/// The messages of a group that one member receives: see
/// [`ChannelLayer::group_select`](crate::ChannelLayer::group_select).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selection {
    /// All messages.
    #[default]
    All,
    /// Messages whose tags match.
    Where(TagFilter),
    /// Summaries instead of messages: a [`GroupActivity`] this time after the first message that it counts, and never
    /// sooner than this time after the previous one. Less than [`MIN_PASSIVE`](Self::MIN_PASSIVE) counts as that.
    Passive(Duration),
}

impl Selection {
    /// The shortest time between two summaries: 100 milliseconds.
    pub const MIN_PASSIVE: Duration = Duration::from_millis(100);
}

/// The summary that a [passive](Selection::Passive) member of a group receives, as a message of type
/// [`GROUP_ACTIVITY`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> channel_layer::Result<()> {
/// use std::time::Duration;
///
/// use channel_layer::{ChannelLayerExt, GroupActivity, MemoryLayer, Message};
///
/// let layer = MemoryLayer::default();
/// let mut reader = layer.new_channel().await?;
/// layer.group_add_passive("news", reader.channel(), Duration::from_secs(10)).await?;
/// for _ in 0..3 {
///     layer.group_send_message("news", Message::new("headline")).await?;
/// }
/// let activity = GroupActivity::from_message(&reader.recv().await)?;
/// assert_eq!((activity.group.as_str(), activity.count), ("news", 3));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupActivity {
    /// The group.
    pub group: GroupName,
    /// The number of messages to the group since the member's last summary, or since it became passive. Never zero.
    /// Messages that left the member out are not counted; those that it received by another group are.
    pub count: u64,
    /// The position of the last of these messages in the group's history. `None` for a group without history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

impl GroupActivity {
    pub(crate) fn new(group: GroupName, count: u64) -> Self {
        Self { group, count, position: None }
    }

    /// Reads a summary.
    ///
    /// # Errors
    /// [`InvalidMessage`](crate::Error::InvalidMessage) for a message of another form.
    pub fn from_message(message: &Message) -> Result<Self> {
        message.decode()
    }

    pub(crate) fn to_message(&self) -> Message {
        let message =
            Message::new(GROUP_ACTIVITY).with("group", self.group.as_str()).with("count", self.count);
        match self.position {
            Some(position) => message.with("position", position),
            None => message,
        }
    }
}

#[cfg(test)]
mod tests;
