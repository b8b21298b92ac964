//! The result of a message to groups.

use std::ops::AddAssign;

/// The result of a `group_send`: exact for this process, and what the backend knows of the others.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
/// use channel_layer::{Audience, ChannelLayer, ChannelLayerExt, GroupName, MemoryLayer, Message, Remote};
///
/// let layer = MemoryLayer::default();
/// let (lobby, staff) = (GroupName::new("lobby")?, GroupName::new("staff")?);
/// let mailbox = layer.new_channel().await?;
/// layer.group_add(&lobby, mailbox.channel()).await?;
/// layer.group_add(&staff, mailbox.channel()).await?;
///
/// let both = Audience::from(lobby).and(staff);
/// let report = layer.group_send(&both, Message::new("notice")).await?;
/// assert_eq!(report.local.delivered, 1, "a member of both groups receives once");
/// assert_eq!(report.remote, Remote::None, "memory has one process");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendReport {
    /// The members in this process.
    pub local: Deliveries,
    /// The other processes.
    pub remote: Remote,
}

impl SendReport {
    /// Creates a report.
    pub fn new(local: Deliveries, remote: Remote) -> Self {
        Self { local, remote }
    }
}

/// The channels of one process that a message was for, by outcome. Each is counted once, named channels included:
/// `matched` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deliveries {
    /// Members of at least one of the audience's groups, without the excepted channel.
    pub matched: usize,
    /// Members whose mailbox took the message. It has not been received yet, and can still expire or make room for another under the mailbox's [`OverflowPolicy`](crate::OverflowPolicy).
    pub delivered: usize,
    /// Members whose [selection](crate::Selection) left the message out; passive members among them.
    pub filtered: usize,
    /// Members whose mailbox was full, so that they miss the message.
    pub full: usize,
    /// Members whose mailbox closed at the same time.
    pub closed: usize,
}

impl AddAssign for Deliveries {
    fn add_assign(&mut self, other: Self) {
        self.matched += other.matched;
        self.delivered += other.delivered;
        self.filtered += other.filtered;
        self.full += other.full;
        self.closed += other.closed;
    }
}

/// The knowledge about other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remote {
    /// Only this process: there are no others, or they were not asked for.
    None,
    /// The bus has handed the message to the connections of this number of other processes. This says neither that it
    /// has arrived there nor how many members they have.
    Processes(usize),
    /// The backend does not report it.
    Unknown,
}
