//! The receivers of a message to groups.

use crate::name::{ChannelName, GroupName};

/// The receivers of a [`group_send`](crate::ChannelLayer::group_send).
///
/// ```
/// use channel_layer::{Audience, ChannelName, GroupName};
///
/// let all = Audience::from(GroupName::new("lobby")?);
/// let others = Audience::from(GroupName::new("lobby")?)
///     .and(GroupName::new("admins")?)
///     .except(ChannelName::new("specific.1!me")?);
/// assert_eq!(others.groups().count(), 2);
/// # Ok::<(), channel_layer::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    group: GroupName,
    more: Vec<GroupName>,
    except: Option<ChannelName>,
    local_only: bool,
}

impl Audience {
    /// Adds the members of another group. A member of several receives once.
    pub fn and(mut self, group: impl Into<GroupName>) -> Self {
        self.more.push(group.into());
        self
    }

    /// Leaves one channel out, most often the sender's own.
    pub fn except(mut self, channel: impl Into<ChannelName>) -> Self {
        self.except = Some(channel.into());
        self
    }

    /// Reaches only members in this process.
    pub fn local_only(mut self) -> Self {
        self.local_only = true;
        self
    }

    /// The groups, in the order in which they were named.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        std::iter::once(&self.group).chain(&self.more)
    }

    /// The group, unless there are several.
    pub fn only_group(&self) -> Option<&GroupName> {
        if self.is_union() { None } else { Some(&self.group) }
    }

    /// Whether there are several groups.
    pub fn is_union(&self) -> bool {
        !self.more.is_empty()
    }

    /// The channel that is left out.
    pub fn excepted(&self) -> Option<&ChannelName> {
        self.except.as_ref()
    }

    /// Whether only members in this process are reached.
    pub fn is_local_only(&self) -> bool {
        self.local_only
    }
}

impl<T: Into<GroupName>> From<T> for Audience {
    fn from(group: T) -> Self {
        Self { group: group.into(), more: Vec::new(), except: None, local_only: false }
    }
}
