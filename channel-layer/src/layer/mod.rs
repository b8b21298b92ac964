//! The agreement with authors of backends: [`ChannelLayer`].

mod audience;
mod directory;
mod report;

use std::{fmt, pin::Pin, sync::Arc};

use async_trait::async_trait;

pub use self::{
    audience::Audience,
    directory::GroupDirectory,
    report::{Deliveries, Remote, SendReport},
};
use crate::{
    capability::Capabilities,
    config::MailboxOptions,
    error::Result,
    events::{Health, LayerEvents},
    mailbox::Mailbox,
    message::Message,
    name::{ChannelName, GroupName},
};

/// Lets any process reach any connection, or group of them.
///
/// Delivery is at most once: a message is received by one receiver or dropped, never repeated. Messages from
/// one sender to one channel arrive in the order in which they were sent.
///
/// # While the backend is away
///
/// A layer whose backend can be lost says so at once through the [state](LayerEvents::state) of its
/// [events](Self::events), and keeps no caller waiting meanwhile:
///
/// * [`open`](Self::open), [`group_add`](Self::group_add), [`group_discard`](Self::group_discard) and
///   [`group_discard_all`](Self::group_discard_all) for channels of this process succeed once the layer has been
///   connected, and take effect by the time that
///   [`Reconnected`](crate::LayerEvent::Reconnected) is raised. That event tells the gap.
/// * [`send`](Self::send) to a mailbox of this process, and a `group_send` that is
///   [`local_only`](Audience::local_only), need no backend.
/// * [`receive`](Self::receive) waits.
/// * All other calls fail at once with [`Unavailable`](crate::Error::Unavailable). Such a message has reached
///   no member, not even in this process.
///
/// A call under way when the backend is lost fails with [`TimedOut`](crate::Error::TimedOut) or
/// [`Interrupted`](crate::Error::Interrupted): it may have taken effect, and no layer makes it again.
///
/// Calls of [`group_send`](Self::group_send) that are under way at the same time keep their order where the layer
/// [says so](Capabilities::orders_calls).
///
/// The trait has no default bodies, so that a backend or a wrapper cannot forget a method. Conveniences are in
/// [`ChannelLayerExt`](crate::ChannelLayerExt).
#[async_trait]
pub trait ChannelLayer: fmt::Debug + Send + Sync + 'static {
    /// What this backend can do.
    fn capabilities(&self) -> Capabilities;

    /// Opens a channel of one's own, under a new name that nobody can guess.
    ///
    /// # Errors
    /// A prefix that makes no valid name; a layer that is closed or out of reach.
    async fn open(&self, options: MailboxOptions) -> Result<Mailbox>;

    /// Sends to one channel, without ever waiting for its receiver.
    ///
    /// A channel that nobody knows is fine: the message waits there until it expires, or is dropped.
    /// A future dropped half-way may or may not have sent.
    ///
    /// # Errors
    /// [`ChannelFull`](crate::Error::ChannelFull) where the backend can tell
    /// ([`reports_full`](Capabilities::reports_full)).
    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()>;

    /// Receives from a named channel, as workers do; each message goes to one of its receivers.
    ///
    /// Waits without limit. Cancel safe: a dropped future takes no message with it.
    ///
    /// # Errors
    /// [`ChannelOwned`](crate::Error::ChannelOwned) for the channel of an open mailbox;
    /// [`Closed`](crate::Error::Closed) once the layer is closed, also for calls that wait already.
    async fn receive(&self, channel: &ChannelName) -> Result<Message>;

    /// Adds a channel to a group. Adding it again renews a membership by name; nothing else changes.
    ///
    /// Once this returns, the channel receives every later `group_send`; while the backend is away, as soon as it is
    /// back.
    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()>;

    /// Takes a channel out of a group. It is fine if it was not there.
    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()>;

    /// Takes a channel out of all groups that it was added to through this layer. It is fine if there were none.
    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()>;

    /// Sends to all members of the audience's groups, to each at most once.
    ///
    /// A member that is full or gone does not make it fail: the report counts it. A group without members is
    /// fine. A future dropped half-way may have reached some, or may yet.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable): the message has reached no member, and is not sent later.
    /// [`TimedOut`](crate::Error::TimedOut): the message may have been delivered; sending it again could
    /// deliver it twice.
    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport>;

    /// Who is in which group, if this layer can tell about all processes.
    fn directory(&self) -> Option<&dyn GroupDirectory>;

    /// Returns the backend's events from now on, and whether it is in reach. Ends once the layer is closed.
    fn events(&self) -> LayerEvents;

    /// Checks that messages get through.
    ///
    /// # Errors
    /// What a `send` would say now.
    async fn health(&self) -> Result<Health>;

    /// Drops all messages and memberships. Open mailboxes stay open, outside of all groups.
    async fn flush(&self) -> Result<()>;

    /// Ends the layer: later calls fail with [`Closed`](crate::Error::Closed). Closing twice is fine.
    async fn close(&self) -> Result<()>;
}

/// A call under way.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A pointer to a layer is a layer. The lint keeps the list whole when the trait grows.
macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<L: ChannelLayer + ?Sized> ChannelLayer for $pointer<L> {
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
            async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
                (**self).open(options).await
            }
            // Written out, like `group_send`, so that the future is passed on as it is, without a box of its own.
            fn send<'a, 'b, 'c>(&'a self, channel: &'b ChannelName, message: Message) -> Boxed<'c, ()>
            where
                'a: 'c,
                'b: 'c,
                Self: 'c,
            {
                (**self).send(channel, message)
            }
            async fn receive(&self, channel: &ChannelName) -> Result<Message> {
                (**self).receive(channel).await
            }
            async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
                (**self).group_add(group, channel).await
            }
            async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
                (**self).group_discard(group, channel).await
            }
            async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
                (**self).group_discard_all(channel).await
            }
            fn group_send<'a, 'b, 'c>(&'a self, to: &'b Audience, message: Message) -> Boxed<'c, SendReport>
            where
                'a: 'c,
                'b: 'c,
                Self: 'c,
            {
                (**self).group_send(to, message)
            }
            fn directory(&self) -> Option<&dyn GroupDirectory> {
                (**self).directory()
            }
            fn events(&self) -> LayerEvents {
                (**self).events()
            }
            async fn health(&self) -> Result<Health> {
                (**self).health().await
            }
            async fn flush(&self) -> Result<()> {
                (**self).flush().await
            }
            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }
    };
}
forward!(Arc);
forward!(Box);
