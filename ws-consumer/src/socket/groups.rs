//! Groups and channels of the channel layer.

use channel_layer::{Audience, ChannelLayer, ChannelName, GroupName, Message};
use serde::Serialize;

use super::context::Context;
use crate::error::{Error, MisuseError, Result};

impl Context {
    /// Joins a group. The connection leaves all its groups when it ends.
    ///
    /// While the layer's backend is out of reach, an accepted socket becomes a member as soon as it is back: see
    /// [`ChannelLayer::group_add`].
    ///
    /// # Errors
    /// An invalid name, which is [the client's fault only if it came from it](Error#names); the layer's errors.
    #[track_caller]
    pub fn group_add<G>(&mut self, group: G) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let group = self.name("group_add", group);
        async {
            let (group, layer) = (group?, self.layer.clone());
            Ok(layer.group_add(&group, self.channel().await?).await?)
        }
    }

    /// Leaves a group. No effect if the connection was not in it.
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add).
    #[track_caller]
    pub fn group_discard<G>(&mut self, group: G) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let group = self.name("group_discard", group);
        async {
            let group: GroupName = group?;
            match &self.channel {
                Some(channel) => Ok(self.layer.group_discard(&group, channel).await?),
                None => Ok(()),
            }
        }
    }

    /// Sends an event to all members of a group, this connection included: their `event` hooks receive it.
    ///
    /// Waits for the layer's answer; [`group_send_pipelined`](Self::group_send_pipelined) does not.
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add); [`Misuse`](Error::Misuse) for an event that is no map.
    /// Members that miss it are no error.
    #[track_caller]
    pub fn group_send<G, T>(&mut self, group: G, event: &T) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let prepared = self.prepared("group_send", group, Message::encode(event));
        self.group_send_message(prepared)
    }

    /// Sends `value` as JSON to the sockets of all members of a group, past their consumers.
    ///
    /// # Errors
    /// Those of [`group_send`](Self::group_send).
    #[track_caller]
    pub fn group_send_json<G, T>(&mut self, group: G, value: &T) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let prepared = self.prepared("group_send_json", group, json_message(value));
        self.group_send_message(prepared)
    }

    /// Sends an event to one channel: its `event` hook receives it.
    ///
    /// # Errors
    /// [`Misuse`](Error::Misuse) for an event that is no map; the layer's errors.
    #[track_caller]
    pub fn send_to<T: Serialize + ?Sized>(
        &mut self,
        channel: &ChannelName,
        event: &T,
    ) -> impl Future<Output = Result<()>> + Send {
        let message = usable("send_to", Message::encode(event));
        async { Ok(self.layer.send(channel, message?).await?) }
    }

    /// Checks a call before anything is awaited: the event need not be `Sync`.
    #[track_caller]
    fn prepared<G>(
        &self,
        call: &'static str,
        group: G,
        message: channel_layer::Result<Message>,
    ) -> Result<(Box<Audience>, Message)>
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let group: GroupName = self.name(call, group)?;
        Ok((Box::new(group.into()), usable(call, message)?))
    }

    #[expect(clippy::manual_async_fn, reason = "the block is smaller")]
    fn group_send_message(
        &mut self,
        prepared: Result<(Box<Audience>, Message)>,
    ) -> impl Future<Output = Result<()>> + Send {
        async {
            let (to, message) = prepared?;
            let report = self.layer.group_send(&to, message).await?;
            if report.local.full > 0 {
                tracing::debug!(missed = report.local.full, "members of a group were full");
            }
            Ok(())
        }
    }

    /// Sends an event like [`group_send`](Self::group_send), without waiting for the layer's answer: messages
    /// of this socket are under way at the same time, in the order of the calls. With `group_send`, a distant
    /// backend limits each client to one message per round trip.
    ///
    /// A failure that is not known at once is reported later, as if [`event`](crate::Consumer::event) had failed: `Ok` does
    /// not say that the message was sent. With 32 messages or 256 KiB under way it waits. They go on when the connection
    /// ends.
    ///
    /// On a layer that does not [keep the order of calls](channel_layer::Capabilities::orders_calls), each call
    /// waits for its answer, as `group_send` does; the layers of this project keep it. Of messages that fail,
    /// none is repeated; later ones may arrive.
    ///
    /// # Errors
    /// Those of [`group_send`](Self::group_send) that are known at once.
    #[track_caller]
    pub fn group_send_pipelined<G, T>(
        &mut self,
        group: G,
        event: &T,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let prepared = self.prepared("group_send_pipelined", group, Message::encode(event));
        self.pipelined(prepared)
    }

    /// Sends a frame like [`group_send_json`](Self::group_send_json), without waiting for the layer's answer:
    /// see [`group_send_pipelined`](Self::group_send_pipelined).
    ///
    /// # Errors
    /// Those of [`group_send_pipelined`](Self::group_send_pipelined).
    #[track_caller]
    pub fn group_send_json_pipelined<G, T>(
        &mut self,
        group: G,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let prepared = self.prepared("group_send_json_pipelined", group, json_message(value));
        self.pipelined(prepared)
    }

    async fn pipelined(&mut self, prepared: Result<(Box<Audience>, Message)>) -> Result<()> {
        if !self.layer.capabilities().orders_calls {
            return self.group_send_message(prepared).await;
        }
        let (to, message) = prepared?;
        let layer = self.layer.clone();
        self.sends.get_or_insert_default().send(layer, to, message).await
    }
}

/// Returns the message made of a consumer's value.
#[track_caller]
pub(crate) fn usable(call: &'static str, message: channel_layer::Result<Message>) -> Result<Message> {
    match message {
        Ok(message) => Ok(message),
        Err(fault) => Err(Error::Misuse(MisuseError::new(call, fault))),
    }
}

/// Returns a message that reaches the members' sockets as JSON.
fn json_message<T: Serialize + ?Sized>(value: &T) -> channel_layer::Result<Message> {
    let text = serde_json::to_string(value);
    text.map(Message::websocket_text).map_err(|fault| channel_layer::Error::InvalidMessage(fault.into()))
}
