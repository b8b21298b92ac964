//! Channels with one receiver: the owner receives from a [`Mailbox`], all others send through a [`MailboxSender`].
//!
//! # Capacity
//! A mailbox is bounded in messages and in bytes. Beyond either, its [`OverflowPolicy`](crate::OverflowPolicy) decides, and
//! the [`Ledger`] counts.
//!
//! # Expiry
//! A message carries the time at which it expires. An expired message is dropped instead of received.
//!
//! # Cancel safety
//! Every method that receives takes a message out only at the moment it returns it.
//!
//! # Bursts
//! Messages that were sent to a group together are one item in the queue of each member, a [`Burst`]. All limits, counts
//! and expiries hold for each of its messages; only [`Mailbox::drain_parts_into`] shows the difference.

mod burst;
mod counts;
mod delivery;
mod ledger;
pub(crate) mod metrics;
mod queue;
mod reason;
mod sender;
pub(crate) mod shared_receiver;

use std::{
    fmt,
    future::{pending, poll_fn},
    sync::Arc,
    task::{Context, Poll},
};

pub use self::{
    burst::{Burst, BurstPart},
    delivery::{Delivery, Refusal},
    ledger::{Dropped, Ledger},
    queue::MailboxPart,
    sender::MailboxSender,
};
pub use crate::config::{Bounds, MailboxLimits};
use crate::{message::Message, name::ChannelName};

/// The keeper of a mailbox's name and groups, notified when the mailbox closes.
pub trait MailboxOwner: Send + Sync + 'static {
    /// Takes out the name of a mailbox that has closed. Runs in the mailbox's `Drop`: it must not block or panic.
    fn mailbox_closed(&self, channel: &ChannelName);
}

/// The receiving end of a channel, with one owner.
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
    /// Creates a mailbox outside of any hub, for authors of backends. The other end is [`sender`](Self::sender).
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

    /// Polls for the next message, as [`next`](Self::next) does.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.sender.poll_next(cx)
    }

    /// Polls for the next message, as [`recv`](Self::recv) does.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        match self.poll_next(cx) {
            Poll::Ready(Some(message)) => Poll::Ready(message),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Takes the next message, if there is one.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.sender.pop()
    }

    /// Ready once the mailbox holds a message or [has overflowed](Self::is_overflowed).
    ///
    /// The waker is kept and woken when the mailbox goes from empty to not empty. Once ready, take all messages, or poll
    /// again.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sender.poll_ready(cx)
    }

    /// Appends all messages, in order, with one lock.
    pub fn drain_into(&mut self, messages: &mut Vec<Message>) {
        self.sender.drain_into(messages);
    }

    /// Appends all messages, in order, those that came together as one part.
    ///
    /// For transports: what is made of a whole burst, such as its frames joined, is made once for all its members.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use channel_layer::{
    ///     Audience, GroupName, Message,
    ///     hub::{GroupSend, Hub},
    ///     mailbox::{Bounds, Burst, Delivery},
    /// };
    ///
    /// fn joined(burst: &Burst) -> &Vec<u8> {
    ///     burst.derived(|burst| burst.messages().flat_map(|message| message.to_bytes().unwrap()).collect())
    /// }
    ///
    /// let (hub, group) = (Hub::new(), GroupName::new("prices")?);
    /// let bounds = Bounds { messages: 100, bytes: 1 << 20 };
    /// let mut mailboxes: Vec<_> = ["a!1", "a!2"]
    ///     .into_iter()
    ///     .map(|name| hub.open(name.parse().unwrap(), bounds).unwrap())
    ///     .collect();
    /// mailboxes.iter().for_each(|mailbox| drop(hub.join(&group, mailbox.channel())));
    /// let expires = (Instant::now() + Duration::from_secs(60)).into();
    /// let send = |n: i64| GroupSend::from(Delivery { message: Message::new("price").with("n", n), expires });
    /// hub.fan_out_all([&group], vec![send(1), send(2)]).finish();
    ///
    /// let mut parts = Vec::new();
    /// mailboxes.iter_mut().for_each(|mailbox| mailbox.drain_parts_into(&mut parts));
    /// let [first, second] = [0, 1].map(|n: usize| parts[n].whole_burst().unwrap());
    /// assert!(std::ptr::eq(joined(first), joined(second)), "made once for both");
    /// # Ok::<(), channel_layer::Error>(())
    /// ```
    pub fn drain_parts_into(&mut self, parts: &mut Vec<MailboxPart>) {
        self.sender.drain_parts_into(parts);
    }

    /// Whether the mailbox closed because it was full, under [`OverflowPolicy::Close`](crate::OverflowPolicy::Close). It is
    /// then empty and stays empty: drop it.
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

#[cfg(test)]
mod tests;
