//! The agreement with authors of backends: [`ChannelLayer`].

mod audience;
mod delegate;
mod directory;
mod report;

use std::fmt;

use async_trait::async_trait;

pub use self::{
    audience::Audience,
    delegate::LayerCall,
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
    selection::Selection,
};

/// Messages from any process to any connection, or to groups of connections.
///
/// Delivery is at most once: a message is received by one receiver or dropped, never repeated. What follows holds for
/// every backend, and the conformance suite (feature `conformance`) tests it.
///
/// The trait has no default bodies, so that a backend or a wrapper cannot forget a method. Conveniences are in
/// [`ChannelLayerExt`](crate::ChannelLayerExt).
///
/// # Order
///
/// A sender is one task that makes one call after the other. The messages of one sender to one channel arrive in the order
/// of the calls. The messages of one sender to one group reach every member in every process in that order, and all
/// members within one process see one order of the messages to the group.
///
/// Calls of [`group_send`](Self::group_send) that are under way at the same time keep their order where the layer
/// [says so](Capabilities::orders_calls).
///
/// # Named channels
///
/// A channel of a [`Mailbox`] has one receiver. A named channel, whose name has no `!`, has any number of them. Where the
/// layer [shares work](Capabilities::shares_work), each message goes to exactly one receiver among all processes. A
/// message without a receiver waits where the layer [stores messages](Capabilities::stores_messages), and is dropped
/// elsewhere.
///
/// A process is a receiver of a named channel while one of its calls of [`receive`](Self::receive) is polled, and for a
/// short time afterwards, so that a loop that drops the future in a `select!` and calls again loses no message. After
/// that time messages go to other processes, and a store takes back what the process has taken from it and not received.
///
/// # Members
///
/// A channel in several groups of an [`Audience`] receives a message once, a named channel as well as a mailbox.
/// Members join and leave at any time: one that is in the group from before the call of [`group_send`](Self::group_send)
/// until it returns receives the message, others may.
///
/// [`group_add`](Self::group_add), [`group_discard`](Self::group_discard) and
/// [`group_discard_all`](Self::group_discard_all) accept the channel of any process. For the mailbox of another process,
/// that process makes the change, and the call returns once it has. They return `Ok` without an effect if the process is
/// gone or the mailbox unknown. A backend that cannot ask the other process returns
/// [`Unsupported`](crate::Error::Unsupported): see [`Capabilities::adds_foreign`].
///
/// # Selections
///
/// A mailbox may be a member for [a part](Selection) of a group's messages: those whose [tags](Message::tags) match a
/// filter, or summaries only. The process of the mailbox selects, and nothing of it is sent to others, so each process
/// may use it while its peers know nothing of it. A channel in several groups of an audience receives a message, once, if
/// one of its memberships selects it. Reports count the others as [`filtered`](Deliveries::filtered), and the
/// [`Ledger`](crate::Ledger) of the process does.
///
/// # Expiry
///
/// A message that is not received within its expiry is dropped. Where the format of the backend has room for it, the
/// [`expiry`](crate::LayerConfig::expiry) of the sender counts, otherwise that of the receiving process. The time is
/// measured by the clock of what holds the message: the store, while it is stored, and the receiving process once it has
/// arrived. The time on the wire is not counted, and clocks of different machines are never compared.
///
/// # Size
///
/// A backend takes messages of at least 1 MiB. Above its limit, [`send`](Self::send) and
/// [`group_send`](Self::group_send) return [`InvalidMessage`](crate::Error::InvalidMessage), with the size and the limit
/// in the text, before anything is sent.
///
/// # While the backend is away
///
/// A layer whose backend can be lost shows it at once through the [state](LayerEvents::state) of its
/// [events](Self::events), and keeps no caller waiting meanwhile:
///
/// * [`open`](Self::open), [`group_add`](Self::group_add), [`group_discard`](Self::group_discard) and
///   [`group_discard_all`](Self::group_discard_all) for channels of this process succeed once the layer has been
///   connected, and take effect by the time that
///   [`Reconnected`](crate::LayerEvent::Reconnected) is raised. That event tells the gap.
/// * [`send`](Self::send) to a mailbox of this process, and a `group_send` that is
///   [`local_only`](Audience::local_only), need no backend.
/// * [`receive`](Self::receive) waits.
/// * All other calls fail at once with [`Unavailable`](crate::Error::Unavailable). Such a message reaches no member, not
///   even in this process, neither now nor later.
///
/// A call under way when the backend is lost fails with [`TimedOut`](crate::Error::TimedOut) or
/// [`Interrupted`](crate::Error::Interrupted): it may have taken effect, for some members or for all, and no layer makes
/// it again. Every call that needs the backend has a deadline.
///
/// # Losses
///
/// A message is dropped for one of these reasons only: the mailbox was full, the message expired, the channel or the layer
/// was closed, the layer was flushed. The [`Ledger`](crate::Ledger) of each mailbox counts them. A message that others
/// sent during an outage is lost, and the gap of [`Reconnected`](crate::LayerEvent::Reconnected) covers it. A message lost
/// while the backend was in reach raises [`Lost`](crate::LayerEvent::Lost) where the layer
/// [detects losses](Capabilities::detects_loss).
///
/// # Closing
///
/// After [`close`](Self::close), calls fail with [`Closed`](crate::Error::Closed), also a `receive` that waits already,
/// and the [events](Self::events) end. Mailboxes keep what they hold, to be received. The server keeps nothing of this
/// process, neither subscriptions nor connections; stored messages of named channels stay there for other processes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
/// use channel_layer::{ChannelLayer, ChannelLayerExt, Error, MemoryLayer, Message};
///
/// let layer = MemoryLayer::default();
/// let mut mailbox = layer.new_channel().await?;
/// layer.send(mailbox.channel(), Message::new("last")).await?;
/// let (mut events, jobs) = (layer.events(), "jobs".parse()?);
/// let (received, closed) = tokio::join!(layer.receive(&jobs), layer.close());
/// closed?;
/// assert!(matches!(received, Err(Error::Closed)));
/// assert_eq!(events.next().await, None);
/// assert_eq!(mailbox.recv().await.event_type(), Some("last"));
/// layer.close().await
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no channel layer",
    label = "no channel layer",
    note = "a channel layer is `MemoryLayer::default()`, a layer of a backend's crate, or an `Arc` of one; pass a clone of one that is shared"
)]
#[async_trait]
pub trait ChannelLayer: fmt::Debug + Send + Sync + 'static {
    /// Returns the abilities of this backend.
    fn capabilities(&self) -> Capabilities;

    /// Opens a channel for one receiver, under a new name that cannot be guessed.
    ///
    /// # Errors
    /// A prefix that makes no valid name; a layer that is closed or has never been connected.
    async fn open(&self, options: MailboxOptions) -> Result<Mailbox>;

    /// Sends to one channel, without ever waiting for its receiver.
    ///
    /// An unknown channel is no error: the message waits there until it expires, or is dropped.
    /// A dropped future may or may not have sent.
    ///
    /// # Errors
    /// [`ChannelFull`](crate::Error::ChannelFull) where the backend can tell
    /// ([`reports_full`](Capabilities::reports_full)); [`InvalidMessage`](crate::Error::InvalidMessage) for a message
    /// above the [limit](Self#size); the errors of [an outage](Self#while-the-backend-is-away).
    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()>;

    /// Receives from a named channel, as workers do; each message goes to one of its receivers.
    ///
    /// Waits without limit, also through an outage. Cancel safe: a dropped future takes no message with it.
    ///
    /// # Errors
    /// [`ChannelOwned`](crate::Error::ChannelOwned) for the channel of an open mailbox;
    /// [`Closed`](crate::Error::Closed) once the layer is closed, also for calls that wait already.
    async fn receive(&self, channel: &ChannelName) -> Result<Message>;

    /// Adds a channel to a group, for all messages. Adding it again renews a membership by name, and ends a
    /// [selection](Self::group_select); nothing else changes.
    ///
    /// Once this returns, the channel receives every later `group_send`; while the backend is away, as soon as it is
    /// back. If the future is dropped before it returns, the channel may or may not be a member; a later
    /// [`group_discard`](Self::group_discard) ends the membership, and the server keeps no subscription without a member.
    ///
    /// # Errors
    /// [`Unsupported`](crate::Error::Unsupported) for a channel of another process, without
    /// [`adds_foreign`](Capabilities::adds_foreign); the errors of [an outage](Self#while-the-backend-is-away).
    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()>;

    /// Adds a channel to a group for a part of its messages, or changes the selection of a member: see
    /// [Selections](Self#selections). With [`Selection::All`] this is [`group_add`](Self::group_add).
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add); [`Unsupported`](crate::Error::Unsupported) without
    /// [`selects`](Capabilities::selects), for a named channel, and for a channel of another process.
    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: Selection,
    ) -> Result<()>;

    /// Takes a channel out of a group, if it is a member.
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add).
    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()>;

    /// Takes a channel out of all its groups, whichever process and handle added it.
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add).
    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()>;

    /// Sends to all members of the audience's groups, to each at most once.
    ///
    /// The report counts members that are full or gone; they are no error, and neither is a group without members. A
    /// dropped future may have reached some members, and may yet reach others.
    ///
    /// # Errors
    /// [`Unavailable`](crate::Error::Unavailable): the message has reached no member, and is not sent later.
    /// [`TimedOut`](crate::Error::TimedOut), [`Interrupted`](crate::Error::Interrupted): the message may have reached some
    /// members or all; sending it again could deliver it twice.
    /// [`InvalidMessage`](crate::Error::InvalidMessage): it is above the [limit](Self#size), and nothing was sent.
    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport>;

    /// Returns the lists of groups and members, if this layer knows those of all processes.
    fn directory(&self) -> Option<&dyn GroupDirectory>;

    /// Returns the backend's events from now on, and whether it is in reach. Ends once the layer is closed.
    fn events(&self) -> LayerEvents;

    /// Checks that messages get through.
    ///
    /// # Errors
    /// The errors of a `send` at this time.
    async fn health(&self) -> Result<Health>;

    /// Drops all messages and memberships. Open mailboxes stay open, outside of all groups.
    ///
    /// In all processes with [`global_flush`](Capabilities::global_flush), otherwise in this process.
    async fn flush(&self) -> Result<()>;

    /// Ends the layer: see [Closing](Self#closing). Closing twice is fine.
    async fn close(&self) -> Result<()>;
}
