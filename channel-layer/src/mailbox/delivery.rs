//! A message for a mailbox, and the reasons to refuse it.

use tokio::time::Instant;

use crate::message::Message;

/// A message for one mailbox.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// The time from which on it is dropped instead of received.
    pub expires: Instant,
}

/// The reason for which a mailbox did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The owner has dropped the mailbox, or it closed because it was full.
    Closed,
    /// The mailbox is full.
    Full,
}
