//! A channel of one's own: its owner receives from a [`Mailbox`], everybody else holds a [`MailboxSender`].
//!
//! # Capacity
//! A mailbox is bounded in messages and in bytes; beyond either, its [`OverflowPolicy`](crate::OverflowPolicy) decides, and the
//! [`Ledger`] counts.
//!
//! # Expiry
//! A message carries the moment it expires; one that has expired is dropped instead of received.
//!
//! # Cancel safety
//! Every way to receive takes a message out only at the moment it hands it over.

mod items;
mod ledger;
mod meter;
mod queue;
mod sender;
pub(crate) mod shared;

use std::{
    fmt,
    future::{pending, poll_fn},
    sync::Arc,
    task::{Context, Poll},
};

pub use self::{
    ledger::{Dropped, Ledger},
    sender::{Delivery, MailboxSender, Refusal},
};
pub use crate::config::{Bounds, MailboxLimits};
use crate::{message::Message, name::ChannelName};

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
    pub fn new(
        channel: ChannelName,
        limits: impl Into<MailboxLimits>,
        owner: Option<Arc<dyn MailboxOwner>>,
    ) -> Self {
        Self { sender: MailboxSender::new(channel, limits.into()), owner }
    }

    /// Waits for the next message.
    ///
    /// Never ends by itself: a mailbox lives as long as its owner keeps it. Under [`OverflowPolicy::Close`] use
    /// [`next`](Self::next): this would wait forever once the mailbox has closed. Cancel safe.
    ///
    /// [`OverflowPolicy::Close`]: crate::OverflowPolicy::Close
    pub async fn recv(&mut self) -> Message {
        match self.next().await {
            Some(message) => message,
            None => pending().await,
        }
    }

    /// Waits for the next message; `None` once the mailbox [has overflowed](Self::is_overflowed). Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.sender.poll_next(cx)
    }

    /// As [`recv`](Self::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        match self.poll_next(cx) {
            Poll::Ready(Some(message)) => Poll::Ready(message),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The next message, if one is waiting.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.sender.pop()
    }

    /// Is something waiting? Otherwise `cx` is woken by the next message.
    ///
    /// The waker is kept: it is woken when the mailbox goes from empty to not empty, so who was told that
    /// something waits takes all of it, or asks again. Ready as well once the mailbox
    /// [has overflowed](Self::is_overflowed).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sender.poll_ready(cx)
    }

    /// Takes all that is waiting, in order, at the price of one lock.
    pub fn drain_into(&mut self, messages: &mut Vec<Message>) {
        self.sender.drain_into(messages);
    }

    /// Was the mailbox closed because it was full, under [`OverflowPolicy::Close`](crate::OverflowPolicy::Close)? Then nothing
    /// waits in it and nothing will: drop it.
    pub fn is_overflowed(&self) -> bool {
        self.sender.is_overflowed()
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

#[cfg(all(test, shuttle))]
mod models;
