//! Work queues: named channels whose messages are stored at the server until a receiver takes them.

use std::{fmt, pin::Pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{error::Result, name::ChannelName};

/// Work queues of a bus, for named channels.
///
/// The engine takes messages only for waiting receivers, and gives back messages whose receiver has left. So dropping a
/// `receive` loses no message.
#[async_trait]
pub trait Queues: fmt::Debug + Send + Sync {
    /// Adds a message to a channel's queue.
    ///
    /// # Errors
    /// [`ChannelFull`](crate::Error::ChannelFull) if the queue holds [`capacity`](Push::capacity) messages that have
    /// not expired.
    async fn push(&self, channel: &ChannelName, push: Push<'_>) -> Result<Pushed>;

    /// Makes a taker, with a separate connection if waiting would block other calls. It ends with its link.
    async fn taker(&self) -> Result<Box<dyn Taker>>;

    /// Puts messages back at the front of the queue they were taken from, in their order.
    async fn give_back(&self, channel: &ChannelName, messages: &[Taken]) -> Result<()>;

    /// Deletes all queues of this layer.
    async fn clear(&self) -> Result<()>;
}

/// Takes messages from queues.
#[async_trait]
pub trait Taker: fmt::Debug + Send {
    /// Takes messages that have not expired, up to the wanted number of each channel. Waits for the first one if there
    /// is none, until `changed` resolves. Then it returns soon, with the messages taken by then, if any.
    ///
    /// The call is not dropped half-way while the layer is open, unless its link has ended for longer than the
    /// [grace](Self::grace): messages that it takes from the server are returned. It may return without a message at
    /// any time. An error ends the taker.
    async fn take(&mut self, wanted: &[Wanted], changed: Changed<'_>) -> Result<Vec<Taken>>;

    /// The time for which a call of [`take`](Self::take) goes on after its link has ended, before it is dropped with
    /// the messages it may have taken: a blocking pop may have to end by itself. 10 s.
    fn grace(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// Resolves when a taker must return: other messages are wanted, or the link has ended.
pub type Changed<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

/// A channel and the number of messages that its receivers wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The channel.
    pub channel: ChannelName,
    /// The number of messages, at least one.
    pub count: usize,
}

/// A message that was taken from a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The channel.
    pub channel: ChannelName,
    /// The body, as it was pushed.
    pub body: Bytes,
    /// Data of the queue, needed to give the message back.
    pub receipt: Bytes,
}

/// A message for a queue.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// The encoded message.
    pub body: &'a [u8],
    /// The number of messages that the queue may hold, at least one.
    pub capacity: usize,
    /// The time after which the message is dropped, by the server's clock.
    pub expiry: Duration,
    /// The id of a message that several processes push: the first push of an id counts, for half a minute at least.
    /// `None` for a message that only its sender pushes.
    pub once: Option<u128>,
}

/// The outcome of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Skipped, because another process has pushed the message with this id.
    Known,
    /// The message was added.
    Stored,
}
