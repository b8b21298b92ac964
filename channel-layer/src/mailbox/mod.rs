//! A channel of one's own: its owner receives from a [`Mailbox`], everybody else holds a [`MailboxSender`].
//!
//! # Capacity
//! A mailbox is bounded in messages and in bytes; beyond either, the newest message is refused.
//!
//! # Expiry
//! A message carries the moment it expires; one that has expired is dropped instead of received.
//!
//! # Cancel safety
//! Every way to receive takes a message out only at the moment it hands it over.

mod sender;

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

pub use self::sender::{Delivery, MailboxSender, Refusal};
use crate::{message::Message, name::ChannelName};

/// How many messages and bytes a mailbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages.
    pub messages: usize,
    /// Bytes of messages. An empty mailbox takes one message of any size.
    pub bytes: usize,
}

/// Told when a mailbox closes: whoever keeps its name and its groups takes them out.
pub trait MailboxOwner: Send + Sync + 'static {
    /// The mailbox with this name is gone. Runs in the mailbox's `Drop`: it must not block or panic.
    fn mailbox_closed(&self, channel: &ChannelName);
}

/// The receiving end of a channel, owned by the one that receives.
///
/// Dropping it closes the channel, and the channel leaves all its groups: nothing else has to run for that.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
/// use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer, Message};
///
/// let layer = MemoryLayer::default();
/// let mut mailbox = layer.open("specific".into()).await?;
/// layer.send(mailbox.channel(), Message::new("hello")).await?;
/// assert_eq!(mailbox.recv().await.event_type(), Some("hello"));
/// # Ok(()) }
/// ```
pub struct Mailbox {
    sender: MailboxSender,
    owner: Option<Arc<dyn MailboxOwner>>,
}

impl Mailbox {
    /// A mailbox that belongs to nobody's hub yet, for authors of backends: the other end is
    /// [`sender`](Self::sender).
    pub fn new(channel: ChannelName, bounds: Bounds, owner: Option<Arc<dyn MailboxOwner>>) -> Self {
        Self { sender: MailboxSender::new(channel, bounds), owner }
    }

    /// Waits for the next message.
    ///
    /// Never ends by itself: a mailbox lives as long as its owner keeps it. Cancel safe.
    pub async fn recv(&mut self) -> Message {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        match self.try_recv() {
            Some(message) => Poll::Ready(message),
            None if self.poll_ready(cx).is_ready() => self.try_recv().map_or_else(
                || {
                    // What was there had expired: ask again, with a waker left behind.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                },
                Poll::Ready,
            ),
            None => Poll::Pending,
        }
    }

    /// The next message, if one is waiting.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.sender.pop()
    }

    /// Is something waiting? Otherwise `cx` is woken by the next message.
    ///
    /// The waker is kept: it is woken when the mailbox goes from empty to not empty, so who was told that
    /// something waits takes all of it, or asks again.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sender.poll_ready(cx)
    }

    /// Takes all that is waiting, in order, at the price of one lock.
    pub fn drain_into(&mut self, messages: &mut Vec<Message>) {
        self.sender.drain_into(messages);
    }

    /// The channel's name.
    pub fn channel(&self) -> &ChannelName {
        self.sender.channel()
    }

    /// The sending end.
    pub fn sender(&self) -> &MailboxSender {
        &self.sender
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.sender.close();
        if let Some(owner) = self.owner.take() {
            owner.mailbox_closed(self.sender.channel());
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mailbox").field(self.channel()).finish()
    }
}
