//! The interface of a shard to its layer.

use std::fmt;

use tokio::sync::oneshot;

/// Writes a sequence number into a payload.
pub type Stamp = fn(&mut [u8], u64);

/// The layer, as a [`Shard`](super::Shard) sees it: the topics it needs, and the receiver of messages.
pub trait ShardHandler: fmt::Debug + Send + Sync + 'static {
    /// The topics that are subscribed to at all times.
    fn process_topics(&self) -> Vec<String>;

    /// Whether no mailbox here needs this topic.
    fn is_unused(&self, topic: &str) -> bool;

    /// Whether the bus is to choose one of the topic's subscribers for each message.
    fn is_shared(&self, topic: &str) -> bool;

    /// Notes that a subscription begins. Earlier messages do not count as missed.
    fn begins(&self, topic: &str);

    /// Notes that a new link begins. Earlier missing messages are reported by its gap.
    fn resumes(&self);

    /// A message that comes back to this process, on this topic or on the topic of the process. `None` if the format
    /// cannot carry probes there.
    fn probe(&self, topic: Option<&str>) -> Option<Probe>;

    /// The function that fills in the sequence number of a payload. `None` for formats without one.
    fn stamp(&self) -> Option<Stamp>;

    /// Handles a message. Must not wait.
    fn received(&self, topic: &str, payload: &[u8]);
}

/// A message of a process to itself, which tests the path of messages.
#[derive(Debug)]
pub struct Probe {
    /// The topic it is published to.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Resolves when the message has come back.
    pub back: oneshot::Receiver<()>,
}
