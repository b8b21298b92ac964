//! The socket of hooks that run at the same time.

use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{self, Poll},
    time::Duration,
};

use bytes::Bytes;
use channel_layer::{
    Audience, ChannelLayer, ChannelName, GroupName, Message, REPLY_CHANNEL, Selection, TagFilter,
};
use serde::Serialize;
use tokio::sync::OnceCell;

use super::{
    context::Context,
    groups::{json_message, log_full_members, usable},
    handle::Handle,
    last_text::LastText,
    names::parse_name,
    pending_requests::PendingRequests,
    timers::{TimerId, Timers},
    users::user_group,
};
use crate::{
    error::{Error, Result},
    frame::{Close, Frame},
    scope::Scope,
    settings::ConnectionSettings,
    sync::lock,
    wire::{Connection, Input, Phase, Resumed},
};

/// A WebSocket that several hooks use at the same time: see [`ConcurrentConsumer`](crate::ConcurrentConsumer).
///
/// Its functions are those of [`Socket`](crate::Socket) and [`Context`](crate::Context) after the client was accepted, with `&self`. Clones
/// are the same socket, and keep no connection open. Frames leave in the order in which their sends are made.
///
/// Some functions are missing on purpose:
///
/// | function | instead |
/// |---|---|
/// | [`accept`](crate::Socket::accept), [`refuse`](crate::Context::refuse), [`scope_mut`](crate::Context::scope_mut), [`set_output_limits`](crate::Context::set_output_limits), logins and logouts | the `connect` hook has the `Socket`: hooks that overlap share one scope, which does not change |
/// | [`next`](crate::Context::next) | `receive` and `event` |
/// | [`spawn`](crate::Context::spawn), [`group_send_pipelined`](crate::Context::group_send_pipelined) | hooks overlap: one that waits delays no other |
///
/// Every function here is cancel safe, unless it says otherwise: a dropped future has done all of its work or none.
pub struct ConcurrentSocket {
    pub(super) shared: Arc<SharedSocket>,
    scope: Arc<Scope>,
    /// The text that this hook handles.
    pub(super) last_text: Mutex<LastText>,
}

pub(super) struct SharedSocket {
    pub(super) connection: Arc<Connection>,
    settings: ConnectionSettings,
    channel: OnceCell<ChannelName>,
    timers: Mutex<Option<Box<Timers>>>,
    pub(super) requests: Mutex<PendingRequests>,
}

impl ConcurrentSocket {
    /// Takes over the scope, the channel and the timers of a context.
    pub(crate) fn take_over(context: &mut Context) -> Self {
        let shared = SharedSocket {
            connection: context.connection.clone(),
            settings: context.settings.clone(),
            channel: OnceCell::new_with(context.channel.clone()),
            timers: Mutex::new(context.timers.take()),
            requests: Mutex::new(PendingRequests::after(context.requests)),
        };
        let scope = Arc::new(std::mem::take(&mut *context.scope));
        Self { shared: Arc::new(shared), scope, last_text: Mutex::default() }
    }

    /// Gives the scope back, with which the end is reported.
    pub(crate) fn give_back(&self, context: &mut Context) {
        *context.scope = (*self.scope).clone();
    }

    /// The scope: everything known about the connection.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The channel layer.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        self.shared.settings.layer()
    }

    /// Whether the client is still there.
    pub fn is_open(&self) -> bool {
        matches!(self.shared.connection.phase(), Phase::Accepting | Phase::Open)
    }

    /// Returns the half for other tasks: it sends frames, and closes.
    pub fn handle(&self) -> Handle {
        Handle::new(self.shared.connection.clone())
    }

    // ---- to the client

    /// Sends a frame; waits while a slow client has a mebibyte to take.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) after the end.
    pub async fn send(&self, frame: impl Into<Frame>) -> Result<()> {
        let mut frame = Some(frame.into());
        poll_fn(|cx| self.shared.connection.poll_send_from_task(cx, &mut frame)).await
    }

    /// Sends `value` as JSON in a text frame.
    ///
    /// # Errors
    /// Those of [`send`](Self::send); [`Misuse`](Error::Misuse) for a value that is no JSON.
    #[track_caller]
    pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> impl Future<Output = Result<()>> + Send {
        let frame = Frame::from_json(value);
        async { self.send(frame?).await }
    }

    /// Sends text.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub async fn send_text(&self, text: impl Into<String>) -> Result<()> {
        let frame = Frame::Text(text.into());
        self.send(frame).await
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub async fn send_bytes(&self, bytes: impl Into<Bytes>) -> Result<()> {
        let frame = Frame::Binary(bytes.into());
        self.send(frame).await
    }

    /// Sends a message of type `websocket.send` as a frame: see [`Socket::send_encoded`](crate::Socket::send_encoded).
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn send_encoded(&self, message: Message) -> Result<()> {
        self.shared.connection.send_encoded(message)
    }

    /// Tells the client of an error: see [`Socket::answer_error`](crate::Socket::answer_error).
    ///
    /// # Errors
    /// The error itself, where the client is not to read it; those of [`send`](Self::send).
    pub async fn answer_error(&self, error: Error) -> Result<()> {
        match error.answer() {
            Some(answer) => self.send_json(&answer).await,
            None => Err(error),
        }
    }

    /// Ends the connection, after everything sent before. A code alone will do.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if it has ended already.
    pub fn close(&self, close: impl Into<Close>) -> Result<()> {
        self.shared.connection.close(close.into())
    }

    /// Returns how the connection ended, if it has.
    pub fn closed(&self) -> Option<Close> {
        self.shared.connection.closed()
    }

    // ---- groups and channels

    /// The connection's channel, opened at the first call.
    ///
    /// # Errors
    /// The layer's errors.
    pub async fn channel(&self) -> Result<&ChannelName> {
        let open = async || {
            let mailbox = self.layer().open(self.shared.settings.mailbox().clone()).await?;
            let channel = mailbox.channel().clone();
            self.shared.connection.set_mailbox(mailbox);
            Ok(channel)
        };
        self.shared.channel.get_or_try_init(open).await
    }

    /// Joins a group: see [`Context::group_add`].
    ///
    /// # Errors
    /// An invalid name, which is [the client's fault only if it came from it](Error#names); the layer's errors.
    #[track_caller]
    pub fn group_add<G>(&self, group: G) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let group = self.name("group_add", group);
        async { Ok(self.layer().group_add(&group?, self.channel().await?).await?) }
    }

    /// Joins a group for the messages whose tags match a filter: see [`Context::group_add_where`].
    ///
    /// # Errors
    /// Those of [`Context::group_add_where`].
    #[track_caller]
    pub fn group_add_where<G, F>(&self, group: G, filter: F) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        F: TryInto<TagFilter, Error: Into<channel_layer::Error>>,
    {
        let group = self.name("group_add_where", group);
        let filter = usable("group_add_where", filter.try_into().map_err(Into::into));
        self.group_select(group, filter.map(Selection::Where))
    }

    /// Joins a group for summaries instead of messages: see [`Context::group_add_passive`].
    ///
    /// # Errors
    /// Those of [`Context::group_add_passive`].
    #[track_caller]
    pub fn group_add_passive<G>(&self, group: G, every: Duration) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let group = self.name("group_add_passive", group);
        self.group_select(group, Ok(Selection::Passive(every)))
    }

    async fn group_select(&self, group: Result<GroupName>, selection: Result<Selection>) -> Result<()> {
        let (group, selection) = (group?, selection?);
        Ok(self.layer().group_select(&group, self.channel().await?, selection).await?)
    }

    /// Identifies the connection as this user's: see [`Context::identify`].
    ///
    /// # Errors
    /// The layer's errors.
    pub async fn identify(&self, user: &str) -> Result<()> {
        self.group_add(user_group(user)?).await
    }

    /// Leaves a group. No effect if the connection was not in it.
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add).
    #[track_caller]
    pub fn group_discard<G>(&self, group: G) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let group = self.name("group_discard", group);
        async {
            let group: GroupName = group?;
            match self.shared.channel.get() {
                Some(channel) => Ok(self.layer().group_discard(&group, channel).await?),
                None => Ok(()),
            }
        }
    }

    /// Sends an event to all members of a group, this connection included: see [`Context::group_send`].
    ///
    /// # Errors
    /// Those of [`group_add`](Self::group_add); [`Misuse`](Error::Misuse) for an event that is no map.
    #[track_caller]
    pub fn group_send<G, T>(&self, group: G, event: &T) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let (group, message) = (self.name("group_send", group), usable("group_send", Message::encode(event)));
        async { self.group_send_message(group?, message?).await }
    }

    /// Sends `value` as JSON to the sockets of all members of a group, past their consumers.
    ///
    /// # Errors
    /// Those of [`group_send`](Self::group_send).
    #[track_caller]
    pub fn group_send_json<G, T>(&self, group: G, value: &T) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let call = "group_send_json";
        let (group, message) = (self.name(call, group), usable(call, json_message(value)));
        async { self.group_send_message(group?, message?).await }
    }

    /// Sends an event to one channel: its `event` hook receives it.
    ///
    /// # Errors
    /// Those of [`group_send`](Self::group_send).
    #[track_caller]
    pub fn send_to<N, T>(&self, channel: N, event: &T) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let channel = self.name("send_to", channel);
        let message = usable("send_to", Message::encode(event));
        async { Ok(self.layer().send(&channel?, message?).await?) }
    }

    /// Submits an event to the workers of a channel: see [`Context::submit`].
    ///
    /// # Errors
    /// Those of [`Context::submit`].
    #[track_caller]
    pub fn submit<N, T>(&self, channel: N, event: &T) -> impl Future<Output = Result<()>> + Send
    where
        N: TryInto<ChannelName, Error: Into<channel_layer::Error>> + AsRef<str>,
        T: Serialize + ?Sized,
    {
        let channel = self.name("submit", channel);
        let message = usable("submit", Message::encode(event));
        async {
            let message = message?.with(REPLY_CHANNEL, self.channel().await?.as_str());
            Ok(self.layer().send(&channel?, message).await?)
        }
    }

    async fn group_send_message(&self, group: GroupName, message: Message) -> Result<()> {
        log_full_members(&self.layer().group_send(&Audience::from(group), message).await?);
        Ok(())
    }

    #[track_caller]
    fn name<T, N>(&self, call: &'static str, name: N) -> Result<T>
    where
        T: for<'a> TryFrom<&'a str>,
        N: TryInto<T, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        parse_name(&self.scope, &lock(&self.last_text), call, name)
    }

    // ---- timers

    /// Sends `event` to this connection once, after `delay`: see [`Context::send_after`].
    ///
    /// # Errors
    /// Those of [`Context::send_after`].
    #[track_caller]
    pub fn send_after<T>(&self, delay: Duration, event: &T) -> Result<TimerId>
    where
        T: Serialize + ?Sized,
    {
        self.insert_timer(delay, None, usable("send_after", Message::encode(event))?)
    }

    /// Sends `event` to this connection once every `period`: see [`Context::every`].
    ///
    /// # Errors
    /// Those of [`Context::every`].
    #[track_caller]
    pub fn every<T>(&self, period: Duration, event: &T) -> Result<TimerId>
    where
        T: Serialize + ?Sized,
    {
        self.insert_timer(period, Some(period), usable("every", Message::encode(event))?)
    }

    /// Cancels a timer of this connection. Returns whether it was still to fire.
    pub fn cancel_timer(&self, timer: TimerId) -> bool {
        lock(&self.shared.timers).as_mut().is_some_and(|timers| timers.cancel(timer))
    }

    fn insert_timer(&self, delay: Duration, period: Option<Duration>, message: Message) -> Result<TimerId> {
        let inserted = lock(&self.shared.timers).get_or_insert_default().insert(delay, period, message);
        self.shared.connection.wake(); // the task that waits for timers may be another
        inserted
    }

    /// Ready with the event of a timer that is due.
    pub(crate) fn poll_timer(&self, cx: &mut task::Context<'_>) -> Poll<Input> {
        loop {
            let mut timers = lock(&self.shared.timers);
            let Some(timers) = timers.as_mut() else { return Poll::Pending };
            if !self.shared.connection.takes_events() {
                return Poll::Pending;
            }
            let message = task::ready!(timers.poll_due(cx));
            if let Some(event) = self.shared.connection.take_event(message) {
                return Poll::Ready(event);
            }
        }
    }

    // ---- for the hooks' driver

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.shared.connection
    }

    /// Returns the socket for a hook that handles this frame.
    pub(crate) fn for_frame(&self, frame: &Frame) -> Self {
        let socket = self.clone();
        lock(&socket.last_text).set_frame(frame);
        socket
    }

    /// The client came back over another transport: later hooks see it in their scope.
    pub(crate) fn set_resumed(&mut self, resumed: &Resumed) {
        Arc::make_mut(&mut self.scope).transport = resumed.transport;
    }
}

impl Clone for ConcurrentSocket {
    fn clone(&self) -> Self {
        let last_text = Mutex::new(lock(&self.last_text).clone());
        Self { shared: self.shared.clone(), scope: self.scope.clone(), last_text }
    }
}

impl fmt::Debug for ConcurrentSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrentSocket")
            .field("path", &self.scope.raw_path())
            .field("phase", &self.shared.connection.phase())
            .finish()
    }
}
