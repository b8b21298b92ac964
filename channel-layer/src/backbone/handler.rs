//! The side of a shard that faces the layer.

use std::fmt;

use tokio::sync::oneshot;

/// Writes a sequence number into a payload.
pub type Stamp = fn(&mut [u8], u64);

/// The layer, as a [`Shard`](super::Shard) sees it: the topics it needs, and the receiver of messages.
pub trait ShardHandler: fmt::Debug + Send + Sync + 'static {
    /// The topics that are subscribed to at all times.
    fn own_topics(&self) -> Vec<String>;

    /// Whether no mailbox here needs this topic any more.
    fn is_unused(&self, topic: &str) -> bool;

    /// Whether the bus is to choose one of the topic's subscribers for each message.
    fn is_shared(&self, topic: &str) -> bool;

    /// Notes that a subscription begins: earlier messages were not missed.
    fn begins(&self, topic: &str);

    /// Notes that a new link begins: messages that are missing from before are told by its gap.
    fn resumes(&self);

    /// A message that comes back to this process: by its own topic, or by this one. `None` if the format has no room for
    /// it.
    fn probe(&self, topic: Option<&str>) -> Option<Probe>;

    /// Fills in the sequence number of a payload. `None` for formats without one.
    fn stamp(&self) -> Option<Stamp>;

    /// Takes a message. Must not wait.
    fn received(&self, topic: &str, payload: &[u8]);
}

/// A message to oneself.
#[derive(Debug)]
pub struct Probe {
    /// The topic it is published to.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Resolves when it has come back.
    pub back: oneshot::Receiver<()>,
}
