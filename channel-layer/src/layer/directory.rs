//! The optional lists of groups and members.

use async_trait::async_trait;

use crate::{
    error::Result,
    name::{ChannelName, GroupName},
};

/// The groups and members of all processes. See [`ChannelLayer::directory`](crate::ChannelLayer::directory).
///
/// Each result is a snapshot, out of date when it arrives: for dashboards and tests, not for a decision whether to send.
/// The order is arbitrary.
#[async_trait]
pub trait GroupDirectory: Send + Sync {
    /// The groups that have members.
    async fn groups(&self) -> Result<Vec<GroupName>>;

    /// The groups that a channel is in; none for an unknown channel.
    async fn groups_of(&self, channel: &ChannelName) -> Result<Vec<GroupName>>;

    /// The channels in a group; none for an unknown group.
    async fn members(&self, group: &GroupName) -> Result<Vec<ChannelName>>;

    /// The number of channels in a group.
    async fn member_count(&self, group: &GroupName) -> Result<usize>;
}
