//! Convenience methods for callers of any layer: [`ChannelLayerExt`].

use std::{any::Any, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::timeout;

use crate::{
    error::{Error, Result},
    layer::{Audience, ChannelLayer, SendReport},
    mailbox::Mailbox,
    message::Message,
    name::{ChannelName, GroupName},
    selection::{Selection, TagFilter},
};

/// The field of a request that holds the channel for the answer.
pub const REPLY_CHANNEL: &str = "reply_channel";

/// Convenience methods over [`ChannelLayer`]: names as text, events as any serialisable type.
///
/// Names may be a `&str`, a `String` or a parsed name.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
/// use channel_layer::{ChannelLayerExt, MemoryLayer, Message};
///
/// let layer = MemoryLayer::default();
/// let mut alice = layer.new_channel().await?;
/// layer.join("lobby", alice.channel()).await?;
///
/// let report = layer.group_send_message("lobby", Message::new("chat.message").with("text", "hi")).await?;
/// assert_eq!(report.local.delivered, 1);
/// assert_eq!(alice.recv().await.get("text").and_then(|t| t.as_str()), Some("hi"));
/// # Ok(()) }
/// ```
pub trait ChannelLayerExt: ChannelLayer {
    /// Returns the layer behind a shared pointer, the form in which it is passed around. Functions that keep a layer take
    /// an owned one as well as an `Arc` of it, and call this. An `Arc<dyn ChannelLayer>` is returned as it is.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer};
    ///
    /// let shared: Arc<dyn ChannelLayer> = MemoryLayer::default().into_shared();
    /// assert!(Arc::ptr_eq(&shared, &shared.clone().into_shared()));
    /// ```
    fn into_shared(self) -> Arc<dyn ChannelLayer>
    where
        Self: Sized,
    {
        // Without specialisation, a look at the type avoids a second pointer. The compiler knows its outcome.
        let mut layer = Some(self);
        match (&mut layer as &mut dyn Any).downcast_mut::<Option<Arc<dyn ChannelLayer>>>() {
            Some(shared) => shared.take().expect("has just been put in"),
            None => Arc::new(layer.expect("has just been put in")),
        }
    }

    /// Opens a mailbox with the default options.
    fn new_channel(&self) -> impl Future<Output = Result<Mailbox>> + Send {
        self.open(Default::default())
    }

    /// Adds a channel to a group, by [`group_add`](ChannelLayer::group_add).
    fn join(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        channel: impl TryInto<ChannelName, Error: Into<Error>> + Send,
    ) -> impl Future<Output = Result<()>> + Send {
        let names = names(group, channel);
        async move {
            let (group, channel) = names?;
            self.group_add(&group, &channel).await
        }
    }

    /// Adds a channel to a group for the messages whose tags match a filter, by
    /// [`group_select`](ChannelLayer::group_select). A later call replaces the filter, and a plain
    /// [`group_add`](ChannelLayer::group_add) ends it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
    /// use channel_layer::{ChannelLayerExt, MemoryLayer, Message, Tag};
    ///
    /// let layer = MemoryLayer::default();
    /// let mut alice = layer.new_channel().await?;
    /// layer.group_add_where("trades", alice.channel(), Tag::new("symbol").is("BTC")).await?;
    ///
    /// let trade = |symbol| Message::new("trade").with_tag("symbol", symbol);
    /// let report = layer.group_send_message("trades", trade("ETH")).await?;
    /// assert_eq!((report.local.delivered, report.local.filtered), (0, 1));
    /// layer.group_send_message("trades", trade("BTC")).await?;
    /// assert_eq!(alice.recv().await, trade("BTC"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// An invalid name or filter; the errors of [`group_select`](ChannelLayer::group_select), of which
    /// [`Unsupported`](crate::Error::Unsupported) comes from layers that do not [select](crate::Capabilities::selects).
    fn group_add_where(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        channel: &ChannelName,
        filter: impl TryInto<TagFilter, Error: Into<Error>> + Send,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let (group, filter) =
                (group.try_into().map_err(Into::into)?, filter.try_into().map_err(Into::into)?);
            self.group_select(&group, channel, Selection::Where(filter)).await
        }
    }

    /// Adds a channel to a group for summaries instead of messages, at most one in this time: see
    /// [`GroupActivity`](crate::GroupActivity). By [`group_select`](ChannelLayer::group_select).
    fn group_add_passive(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        channel: &ChannelName,
        every: Duration,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let group = group.try_into().map_err(Into::into)?;
            self.group_select(&group, channel, Selection::Passive(every)).await
        }
    }

    /// Removes a channel from a group, by [`group_discard`](ChannelLayer::group_discard).
    fn leave(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        channel: impl TryInto<ChannelName, Error: Into<Error>> + Send,
    ) -> impl Future<Output = Result<()>> + Send {
        let names = names(group, channel);
        async move {
            let (group, channel) = names?;
            self.group_discard(&group, &channel).await
        }
    }

    /// Sends an event that serialises as a map, by [`send`](ChannelLayer::send).
    fn send_event<T: Serialize + Sync + ?Sized>(
        &self,
        channel: impl TryInto<ChannelName, Error: Into<Error>> + Send,
        event: &T,
    ) -> impl Future<Output = Result<()>> + Send {
        let channel = channel.try_into().map_err(Into::into);
        async move { self.send(&channel?, Message::encode(event)?).await }
    }

    /// Sends a message to one group, by [`group_send`](ChannelLayer::group_send).
    fn group_send_message(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        message: Message,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        async move {
            let to = Audience::from(group.try_into().map_err(Into::into)?);
            self.group_send(&to, message).await
        }
    }

    /// Sends an event that serialises as a map to one group, by [`group_send`](ChannelLayer::group_send).
    fn group_send_event<T: Serialize + Sync + ?Sized>(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        event: &T,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        async move { self.group_send_message(group, Message::encode(event)?).await }
    }

    /// Sends a text frame to every socket in the group, without waking their consumers.
    fn group_send_text(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        text: impl Into<String> + Send,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        async move { self.group_send_message(group, Message::websocket_text(text)).await }
    }

    /// Sends a binary frame to every socket in the group, without waking their consumers.
    fn group_send_bytes(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        bytes: impl Into<Vec<u8>> + Send,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        async move { self.group_send_message(group, Message::websocket_bytes(bytes)).await }
    }

    /// Sends a request and waits for its answer, on a channel that is open during the call.
    ///
    /// The field [`REPLY_CHANNEL`] of the request holds the channel. The receiver calls [`reply`](Self::reply). An
    /// answer that comes too late is dropped. Cancel safe: dropping the call closes the channel.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
    /// use std::time::Duration;
    ///
    /// use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer, Message};
    ///
    /// let layer = MemoryLayer::default();
    /// let sums = "sums".parse()?;
    /// let worker = async {
    ///     let request = layer.receive(&sums).await?;
    ///     layer.reply(&request, Message::new("sum").with("is", 5)).await
    /// };
    /// let request = Message::new("add").with("one", 2).with("other", 3);
    /// let (answer, worked) = tokio::join!(layer.request(&sums, request, Duration::from_secs(1)), worker);
    /// assert_eq!(answer?.get("is").and_then(|sum| sum.as_i64()), Some(5));
    /// # worked }
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](Error::TimedOut) if no answer came within `deadline`. The request may still have been processed.
    fn request(
        &self,
        channel: impl TryInto<ChannelName, Error: Into<Error>> + Send,
        request: Message,
        deadline: Duration,
    ) -> impl Future<Output = Result<Message>> + Send {
        let channel = channel.try_into().map_err(Into::into);
        async move {
            let channel = channel?;
            let answered = timeout(deadline, async {
                let mut answers = self.open("reply".into()).await?;
                self.send(&channel, request.with(REPLY_CHANNEL, answers.channel().as_str())).await?;
                Ok(answers.recv().await)
            });
            answered.await.unwrap_or(Err(Error::TimedOut(deadline)))
        }
    }

    /// Answers a [`request`](Self::request). Succeeds without effect if its caller no longer waits.
    ///
    /// # Errors
    /// [`InvalidMessage`](Error::InvalidMessage) if `request` has no [`REPLY_CHANNEL`].
    fn reply(&self, request: &Message, answer: Message) -> impl Future<Output = Result<()>> + Send {
        let channel = request.get(REPLY_CHANNEL).and_then(|channel| channel.as_str());
        let channel = channel
            .ok_or_else(|| Error::InvalidMessage("the message has no reply channel".into()))
            .and_then(|channel| Ok(ChannelName::new(channel)?));
        async move { self.send(&channel?, answer).await }
    }
}

impl<L: ChannelLayer + ?Sized> ChannelLayerExt for L {}

fn names(
    group: impl TryInto<GroupName, Error: Into<Error>>,
    channel: impl TryInto<ChannelName, Error: Into<Error>>,
) -> Result<(GroupName, ChannelName)> {
    Ok((group.try_into().map_err(Into::into)?, channel.try_into().map_err(Into::into)?))
}
