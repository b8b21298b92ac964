//! The reasons to drop a message.

/// The reason for which a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    Closed,
    Evicted,
    Expired,
    Flushed,
    Full,
    Replaced,
}
