//! The agreement with callers: [`ChannelLayerExt`], for every layer.

use serde::Serialize;

use crate::{
    error::{Error, Result},
    layer::{Audience, ChannelLayer, SendReport},
    mailbox::Mailbox,
    message::Message,
    name::{ChannelName, GroupName},
};

/// Conveniences over [`ChannelLayer`]: names as text, events as any serialisable type.
///
/// Where a name is taken, a `&str`, a `String` or a parsed name will do.
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
    /// Opens a mailbox with the default options.
    fn new_channel(&self) -> impl Future<Output = Result<Mailbox>> + Send {
        self.open(Default::default())
    }

    /// As [`group_add`](ChannelLayer::group_add).
    fn join(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        channel: &ChannelName,
    ) -> impl Future<Output = Result<()>> + Send {
        async move { self.group_add(&group.try_into().map_err(Into::into)?, channel).await }
    }

    /// As [`group_discard`](ChannelLayer::group_discard).
    fn leave(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        channel: &ChannelName,
    ) -> impl Future<Output = Result<()>> + Send {
        async move { self.group_discard(&group.try_into().map_err(Into::into)?, channel).await }
    }

    /// As [`send`](ChannelLayer::send), of anything that serialises as a map.
    fn send_event<T: Serialize + Sync + ?Sized>(
        &self,
        channel: &ChannelName,
        event: &T,
    ) -> impl Future<Output = Result<()>> + Send {
        async move { self.send(channel, Message::encode(event)?).await }
    }

    /// As [`group_send`](ChannelLayer::group_send), to one group.
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

    /// As [`group_send`](ChannelLayer::group_send), of anything that serialises as a map.
    fn group_send_event<T: Serialize + Sync + ?Sized>(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        event: &T,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        async move { self.group_send_message(group, Message::encode(event)?).await }
    }

    /// Sends a text frame to every socket in the group, past their consumers.
    fn group_send_text(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        text: impl Into<String> + Send,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        async move { self.group_send_message(group, Message::websocket_text(text)).await }
    }

    /// Sends a binary frame to every socket in the group, past their consumers.
    fn group_send_bytes(
        &self,
        group: impl TryInto<GroupName, Error: Into<Error>> + Send,
        bytes: impl Into<Vec<u8>> + Send,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        async move { self.group_send_message(group, Message::websocket_bytes(bytes)).await }
    }
}

impl<L: ChannelLayer + ?Sized> ChannelLayerExt for L {}
