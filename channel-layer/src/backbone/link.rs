//! The traits that a backend implements, and their types.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;

use super::{queues::Queues, sink::InboundSink};
use crate::error::Result;

/// A message bus: the part of a distributed backend that is specific to it.
///
/// [`HubLayer`](super::HubLayer) makes a [`ChannelLayer`](crate::ChannelLayer) of it.
#[async_trait]
pub trait Backbone: fmt::Debug + Send + Sync + 'static {
    /// Connects once.
    ///
    /// The engine calls it with a deadline and backoff, whenever a link has ended. An error is logged, and is the
    /// cause of the errors that callers get meanwhile.
    async fn connect(&self) -> Result<Arc<dyn BackboneLink>>;
}

/// A connection to the bus.
///
/// A link is never repaired: one that fails is dropped, and [`Backbone::connect`] makes the next. The engine subscribes
/// again, puts a deadline on every call but [`next`](Self::next), and never makes two calls of
/// [`subscribe`](Self::subscribe) or [`unsubscribe`](Self::unsubscribe) for one topic at a time.
///
/// # Errors
///
/// [`Interrupted`](crate::Error::Interrupted) and [`TimedOut`](crate::Error::TimedOut) from any call end the link, as
/// any error of [`next`](Self::next), [`ping`](Self::ping) and [`restore`](Self::restore) does. Other errors concern
/// the one call: `subscribe` is refused with [`Backend`](crate::Error::Backend), `publish` with the error for its
/// caller.
#[async_trait]
pub trait BackboneLink: fmt::Debug + Send + Sync + 'static {
    /// Publishes to a topic. Returns the number of connections that took the message, this one included, where the bus
    /// reports it.
    ///
    /// Messages are sent in the order in which the futures are first polled.
    async fn publish(&self, topic: &str, bytes: Bytes) -> Result<Option<usize>>;

    /// Subscribes to a topic.
    async fn subscribe(&self, topic: &str) -> Result<Subscription>;

    /// Ends the subscription to a topic.
    async fn unsubscribe(&self, topic: &str) -> Result<()>;

    /// Waits for the next message of any subscription. An error ends the link.
    ///
    /// Only one call is made at a time. It must be cancel safe.
    async fn next(&self) -> Result<Inbound>;

    /// Subscribes as one of several receivers, of which the bus chooses one for each message.
    ///
    /// The default subscribes alone: then every process receives a copy. A bus that overrides it says so by
    /// [`HubOptions::with_shared_subscriptions`](super::HubOptions::with_shared_subscriptions).
    async fn subscribe_shared(&self, topic: &str) -> Result<Subscription> {
        self.subscribe(topic).await
    }

    /// Checks that the server answers. Called at every heartbeat. The probe, a message of the engine to itself, also
    /// tests the path of messages.
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Publishes many messages in their order, and returns the outcome of each. An error of the call ends the link.
    ///
    /// The default makes the calls of [`publish`](Self::publish) concurrently.
    async fn publish_all(&self, batch: &Batch) -> Result<Vec<Result<Option<usize>>>> {
        let publish = |(topic, payload)| self.publish(topic, Bytes::copy_from_slice(payload));
        Ok(join_all(batch.iter().map(publish)).await)
    }

    /// Subscribes to many topics, and returns the outcome of each. An error of the call ends the link.
    ///
    /// The default makes the calls of [`subscribe`](Self::subscribe) concurrently.
    async fn subscribe_all(&self, topics: &[String]) -> Result<Vec<Result<Subscription>>> {
        Ok(join_all(topics.iter().map(|topic| self.subscribe(topic))).await)
    }

    /// Ends the subscriptions to many topics.
    async fn unsubscribe_all(&self, topics: &[String]) -> Result<()> {
        join_all(topics.iter().map(|topic| self.unsubscribe(topic))).await.into_iter().collect()
    }

    /// Takes the sink for messages, for client libraries with callbacks. Called once, before the first subscription. A
    /// link that returns true delivers to the sink, and its [`next`](Self::next) returns only at the end.
    fn attach(&self, sink: InboundSink) -> bool {
        drop(sink);
        false
    }

    /// Restores the state that the server holds for this process, apart from subscriptions. Called before the link is
    /// used, and again once calls go through it, for changes in between. Then the layer reports that it is connected.
    async fn restore(&self) -> Result<()> {
        Ok(())
    }

    /// Work queues for named channels. Without them a named channel is a topic that receivers subscribe to, and no
    /// message is stored.
    fn queues(&self) -> Option<&dyn Queues> {
        None
    }
}

/// The state of a subscription when `subscribe` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// Acknowledged by the server: every later message comes in.
    Confirmed,
    /// Unacknowledged by the bus. The engine publishes a probe to the topic, and counts the subscription as confirmed
    /// when the probe comes back.
    Pending,
}

/// A message from the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The topic it was published to.
    pub topic: String,
    /// The payload, as it was published.
    pub bytes: Bytes,
}

/// Messages that are published together, in order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The lengths of each topic and payload.
    lengths: Vec<(usize, usize)>,
    /// Topics and payloads, one after the other.
    bytes: Vec<u8>,
}

impl Batch {
    pub(super) fn with_capacity(messages: usize, bytes: usize) -> Self {
        Self { lengths: Vec::with_capacity(messages), bytes: Vec::with_capacity(bytes) }
    }

    pub(super) fn push(&mut self, topic: &str, payload: &[u8]) {
        self.bytes.extend_from_slice(topic.as_bytes());
        self.bytes.extend_from_slice(payload);
        self.lengths.push((topic.len(), payload.len()));
    }

    /// Calls a function with each topic and its payload, which may be changed in place.
    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(&[u8], &mut [u8])) {
        let mut rest = self.bytes.as_mut_slice();
        for (topic, payload) in &self.lengths {
            let (message, others) = std::mem::take(&mut rest).split_at_mut(topic + payload);
            let (topic, payload) = message.split_at_mut(*topic);
            change(topic, payload);
            rest = others;
        }
    }

    /// The size in bytes, topics included.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The topics and payloads, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |(topic, payload)| {
            let (message, others) = rest.split_at(topic + payload);
            rest = others;
            let (topic, payload) = message.split_at(*topic);
            (std::str::from_utf8(topic).unwrap_or_default(), payload) // it was pushed as text
        })
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_boundaries() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        batch.push("a", b"one");
        batch.push("bb", b"");
        batch.push("", b"three");
        batch.for_each_mut(|_, payload| payload.reverse());
        let all: Vec<_> = batch.iter().collect();
        assert_eq!(all, [("a", &b"eno"[..]), ("bb", b""), ("", b"eerht")]);
        assert_eq!((batch.len(), batch.byte_len()), (3, 11));
    }
}
