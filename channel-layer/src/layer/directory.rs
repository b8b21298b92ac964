//! The optional plane that lists groups and members.

use async_trait::async_trait;

use crate::{
    error::Result,
    name::{ChannelName, GroupName},
};

/// Who is in which group. Reached by [`ChannelLayer::directory`](crate::ChannelLayer::directory), for layers
/// that can tell about all processes.
///
/// Every answer is a snapshot, already out of date when it arrives: for dashboards and tests, not for deciding
/// whether to send. No order is promised.
#[async_trait]
pub trait GroupDirectory: Send + Sync {
    /// The groups that have members.
    async fn groups(&self) -> Result<Vec<GroupName>>;

    /// The groups that a channel is in; none if nobody knows it.
    async fn groups_of(&self, channel: &ChannelName) -> Result<Vec<GroupName>>;

    /// The channels in a group; none if nobody knows it.
    async fn members(&self, group: &GroupName) -> Result<Vec<ChannelName>>;

    /// How many channels are in a group.
    async fn member_count(&self, group: &GroupName) -> Result<usize>;
}
