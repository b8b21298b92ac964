//! Groups and channels of the channel layer.

use std::time::Duration;

use channel_layer::{
    Audience, ChannelLayer, ChannelName, GroupName, Message, Selection, SendReport, TagFilter,
};
use serde::Serialize;

use super::context::Context;
use crate::{
    error::{Error, MisuseError, Result},
    frame::Frame,
};

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
            let (group, layer) = (group?, self.layer().clone());
            Ok(layer.group_add(&group, self.channel().await?).await?)
        }
    }

    /// Joins a group for the messages whose [tags](Message::tags) match a filter, frames for sockets among them. In a
    /// group already, the connection changes its filter; [`group_add`](Self::group_add) ends it.
    ///
    /// ```no_run
    /// # use ws_consumer::{Context, Result};
    /// # async fn connect(socket: &mut Context) -> Result<()> {
    /// use channel_layer::{Message, Tag};
    ///
    /// socket.group_add_where("trades", Tag::new("symbol").is_one_of(["BTC", "ETH"])).await?;
    /// // Anywhere else: for sockets without waking their consumers, or as an event.
    /// let frame = Message::websocket_text(r#"{"symbol": "BTC", "price": 97500}"#).with_tag("symbol", "BTC");
    /// # Ok(()) }
    /// ```
    ///
    /// A client may choose its filter: [`TagFilter`] is bounded, and a field of this type in what
    /// [`Frame::json`](crate::Frame::json) reads is the client's fault if it is invalid.
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add); [`Misuse`](Error::Misuse) for an invalid filter;
    /// [`Layer`](Error::Layer) with `Unsupported` where the layer does not
    /// [select](channel_layer::Capabilities::selects).
    #[track_caller]
    pub fn group_add_where<G, F>(&mut self, group: G, filter: F) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        F: TryInto<TagFilter, Error: Into<channel_layer::Error>>,
    {
        let group = self.name("group_add_where", group);
        let filter = usable("group_add_where", filter.try_into().map_err(Into::into));
        self.group_select(group, filter.map(Selection::Where))
    }

    /// Joins a group for summaries instead of messages, for a client that shows only how much is new. At most once in this
    /// time, and only after messages, the `event` hook receives a [`GroupActivity`](channel_layer::GroupActivity), an
    /// event of type [`group.activity`](channel_layer::GROUP_ACTIVITY). No frame is sent unless the hook sends one.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use ws_consumer::{Context, Result};
    /// # async fn connect(socket: &mut Context) -> Result<()> {
    /// #[derive(serde::Deserialize)]
    /// #[serde(tag = "type")]
    /// enum Event {
    ///     #[serde(rename = "group.activity")]
    ///     Activity(channel_layer::GroupActivity),
    /// }
    ///
    /// socket.group_add_passive("news", Duration::from_secs(10)).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add); [`Layer`](Error::Layer) with `Unsupported` where the layer does not
    /// [select](channel_layer::Capabilities::selects).
    #[track_caller]
    pub fn group_add_passive<G>(
        &mut self,
        group: G,
        every: Duration,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let group = self.name("group_add_passive", group);
        self.group_select(group, Ok(Selection::Passive(every)))
    }

    async fn group_select(&mut self, group: Result<GroupName>, selection: Result<Selection>) -> Result<()> {
        let (group, selection, layer) = (group?, selection?, self.layer().clone());
        Ok(layer.group_select(&group, self.channel().await?, selection).await?)
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
                Some(channel) => Ok(self.layer().group_discard(&group, channel).await?),
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
        self.group_send_prepared(prepared)
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
        self.group_send_prepared(prepared)
    }

    /// Sends an event to one channel: its `event` hook receives it.
    ///
    /// # Errors
    /// An invalid name, as of [`group_add`](Self::group_add); [`Misuse`](Error::Misuse) for an event that is no map; the
    /// layer's errors.
    #[track_caller]
    pub fn send_to<N, T>(&mut self, channel: N, event: &T) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let channel = self.name("send_to", channel);
        let message = usable("send_to", Message::encode(event));
        async { Ok(self.layer().send(&channel?, message?).await?) }
    }

    /// Checks a call that sends a frame to the sockets of a group's members. `call` is the function that the consumer called.
    #[track_caller]
    pub(crate) fn prepared_frame<G>(
        &self,
        call: &'static str,
        group: G,
        frame: Result<Frame>,
    ) -> Result<(Box<Audience>, Message)>
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let group: GroupName = self.name(call, group)?;
        Ok((Box::new(group.into()), frame?.into_message()))
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
    pub(crate) fn group_send_prepared(
        &mut self,
        prepared: Result<(Box<Audience>, Message)>,
    ) -> impl Future<Output = Result<()>> + Send {
        async {
            let (to, message) = prepared?;
            log_full_members(&self.layer().group_send(&to, message).await?);
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

    pub(crate) async fn pipelined(&mut self, prepared: Result<(Box<Audience>, Message)>) -> Result<()> {
        if !self.layer().capabilities().orders_calls {
            return self.group_send_prepared(prepared).await;
        }
        let (to, message) = prepared?;
        let layer = self.layer().clone();
        self.sends.get_or_insert_default().send(layer, to, message).await
    }
}

pub(super) fn log_full_members(report: &SendReport) {
    if report.local.full > 0 {
        tracing::debug!(missed = report.local.full, "members of a group were full");
    }
}

/// Returns the message, or the filter, made of a consumer's value.
#[track_caller]
pub(crate) fn usable<T>(call: &'static str, made: channel_layer::Result<T>) -> Result<T> {
    match made {
        Ok(made) => Ok(made),
        Err(fault) => Err(Error::Misuse(MisuseError::new(call, fault))),
    }
}

/// Returns a message that reaches the members' sockets as JSON.
pub(super) fn json_message<T: Serialize + ?Sized>(value: &T) -> channel_layer::Result<Message> {
    let text = serde_json::to_string(value);
    text.map(Message::websocket_text).map_err(|fault| channel_layer::Error::InvalidMessage(fault.into()))
}
