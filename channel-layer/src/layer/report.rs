//! What became of a message to groups.

/// What became of a `group_send`: in this process to the message, elsewhere as far as the backend knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a report tells whether members missed the message"]
#[non_exhaustive]
pub struct SendReport {
    /// In this process.
    pub local: Deliveries,
    /// In other processes.
    pub remote: Remote,
}

impl SendReport {
    /// A report.
    pub fn new(local: Deliveries, remote: Remote) -> Self {
        Self { local, remote }
    }
}

/// One message and the mailboxes of one process: `matched` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deliveries {
    /// Members that the audience named.
    pub matched: usize,
    /// Members whose mailbox took the message.
    pub delivered: usize,
    /// Members whose mailbox was full.
    pub full: usize,
    /// Members that left in the same moment.
    pub closed: usize,
}

/// What is known about other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remote {
    /// There are none, or they were not asked for.
    None,
    /// So many of them took the message.
    Processes(usize),
    /// The backend does not tell.
    Unknown,
}
