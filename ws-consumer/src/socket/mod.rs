//! The application's end of a connection.

mod calls;
mod handle;
mod jobs;
mod names;
mod request;
mod sends;
mod unreached;
mod users;

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use channel_layer::{Audience, ChannelLayer, ChannelLayerExt, ChannelName, GroupName, Message};
use serde::Serialize;

pub use self::{
    handle::Handle,
    jobs::blocking,
    users::{NoIdentify, UsersExt},
};
use self::{jobs::Jobs, sends::Sends};
use crate::{
    error::{Error, MisuseError, Reports, Result},
    frame::{Close, Frame},
    scope::{Protocol, Scope, UserId},
    wire::{Accept, Connection, Input, LayerCommand, OutputLimits, Phase, Profile, Refuse, Running, Wire},
};

/// One connection, as consumers and other applications see it.
///
/// What is sent leaves when the application waits, in one write with all that was sent before: fifty sends in a
/// row cost one. When the client is slow and a mebibyte waits, [`send`](Self::send) waits too.
///
/// Every function here is cancel safe: a dropped future has done all of it or nothing.
pub struct Socket {
    connection: Arc<Connection>,
    /// Boxed: it is rarely looked at, and every connection's future would carry it.
    scope: Box<Scope>,
    layer: Arc<dyn ChannelLayer>,
    channel: Option<ChannelName>,
    /// The tasks that run beside the hooks. Boxed: few connections have any.
    jobs: Option<Box<Jobs>>,
    /// Messages to groups that are under way. Boxed as well.
    sends: Option<Box<Sends>>,
    /// Numbers the requests to the client.
    requests: u32,
    /// The text that the client sent last, while it is handled.
    heard: Option<Box<str>>,
}

impl Socket {
    /// The two ends of a new connection. `application` is what runs behind it.
    pub fn open(
        scope: Scope,
        layer: Arc<dyn ChannelLayer>,
        application: impl FnOnce(Self) -> Running,
    ) -> Wire {
        Self::open_with(Profile::CLIENT, scope, layer, application)
    }

    pub(crate) fn open_with(
        profile: Profile,
        scope: Scope,
        layer: Arc<dyn ChannelLayer>,
        application: impl FnOnce(Self) -> Running,
    ) -> Wire {
        let connection = Arc::new(Connection::new(scope.protocol == Protocol::Http, profile));
        let socket = Self {
            connection: connection.clone(),
            scope: Box::new(scope),
            layer,
            channel: None,
            jobs: None,
            sends: None,
            requests: 0,
            heard: None,
        };
        Wire::new(connection, application(socket))
    }

    /// What is known about the connection.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What is known about the connection, to add to.
    pub fn scope_mut(&mut self) -> &mut Scope {
        self.scope.forget_path(); // the URI may be replaced
        &mut self.scope
    }

    /// The channel layer.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.layer
    }

    /// Sets what may wait for this client, and what happens beyond it, instead of what the service says.
    pub fn set_output_limits(&mut self, limits: impl Into<Arc<OutputLimits>>) {
        self.connection.set_limits(limits.into());
    }

    /// Shares the rate at which failures are logged with the service's other connections.
    pub(crate) fn set_reports(&self, reports: Arc<Reports>) {
        self.connection.set_reports(reports);
    }

    /// Logs that `hook` has failed.
    pub(crate) fn report(&self, hook: &'static str, error: &Error) {
        self.connection.report(Some(self.scope.raw_path()), hook, error);
    }

    // ---- deciding

    /// Lets the client in. Returns once the answer is on its way. Accepting twice is fine.
    ///
    /// A connection whose user guards have found out is [identified](Self::identify) before.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if the client has given up, or was refused; what the layer says.
    pub async fn accept(&mut self) -> Result<()> {
        self.accept_with(Accept::default()).await
    }

    /// As [`accept`](Self::accept), with a subprotocol or headers.
    ///
    /// # Errors
    /// Also a subprotocol that the client does not offer.
    pub async fn accept_with(&mut self, accept: Accept) -> Result<()> {
        if let Some(chosen) = &accept.subprotocol
            && !self.scope.subprotocols().any(|offered| offered == chosen)
        {
            return Err(Error::other(format!("the client does not offer the subprotocol `{chosen}`")));
        }
        self.connection.set_user(self.scope.extensions.get::<UserId>().map(|user| user.0.clone()));
        if self.connection.phase() == Phase::Undecided && self.is_websocket() {
            self.identify_user().await?;
        }
        self.connection.accept(accept)?;
        poll_fn(|cx| self.connection.poll_accepted(cx)).await
    }

    /// Answers the client's request with an HTTP response instead of a socket; a status alone will do.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if the decision has been made already.
    pub async fn refuse(&mut self, refuse: impl Into<Refuse>) -> Result<()> {
        self.connection.refuse(refuse.into())
    }

    /// Has the client been let in, and is it still there?
    pub fn is_open(&self) -> bool {
        matches!(self.connection.phase(), Phase::Accepting | Phase::Open)
    }

    // ---- talking with the client

    /// The next frame or event, or `None` once the connection has ended.
    ///
    /// # Errors
    /// The error of a job that [`spawn`](Self::spawn) started, or of a
    /// [pipelined](Self::group_send_pipelined) message.
    pub async fn next(&mut self) -> Result<Option<Input>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// [`NotAccepted`](Error::NotAccepted) before the client was let in, [`Closed`](Error::Closed) after the end.
    pub fn send(&mut self, frame: impl Into<Frame>) -> impl Future<Output = Result<()>> + Send {
        self.send_frame(frame.into())
    }

    fn send_frame(&mut self, frame: Frame) -> impl Future<Output = Result<()>> + Send {
        let mut frame = Some(frame);
        poll_fn(move |cx| self.connection.poll_send(cx, &mut frame))
    }

    /// Sends `value` as JSON in a text frame.
    ///
    /// # Errors
    /// Those of [`send`](Self::send); [`Misuse`](Error::Misuse) for a value that is no JSON.
    #[track_caller]
    pub fn send_json<T: Serialize + ?Sized>(&mut self, value: &T) -> impl Future<Output = Result<()>> + Send {
        // At once: the value need not be `Sync`, and the future, which idle connections keep room for, is small.
        let frame = Frame::from_json(value);
        async { self.send_frame(frame?).await }
    }

    /// Sends text.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_text(&mut self, text: impl Into<String>) -> impl Future<Output = Result<()>> + Send {
        self.send_frame(Frame::Text(text.into()))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_bytes(&mut self, bytes: impl Into<Bytes>) -> impl Future<Output = Result<()>> + Send {
        self.send_frame(Frame::Binary(bytes.into()))
    }

    /// Sends a message of type [`websocket.send`](channel_layer::WEBSOCKET_SEND) as a frame, whose bytes all
    /// sockets share that send it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_encoded(&mut self, message: Message) -> Result<()> {
        self.connection.send_encoded(message)
    }

    /// As [`send_encoded`](Self::send_encoded), but waits while a slow client has enough to take.
    pub(crate) async fn send_encoded_patiently(&mut self, message: Message) -> Result<()> {
        poll_fn(|cx| self.connection.poll_drained(cx, usize::MAX)).await;
        self.connection.send_encoded(message)
    }

    /// Tells the client of an error as a consumer's [`error`](crate::Consumer::error) hook does by default:
    /// with [`Error::answer`]. A custom hook calls this for errors that it does not handle.
    ///
    /// # Errors
    /// The error itself, where the client is not to read it; as [`send`](Self::send).
    pub async fn answer_error(&mut self, error: Error) -> Result<()> {
        match error.answer() {
            Some(answer) => self.send_json(&answer).await,
            None => Err(error),
        }
    }

    /// Ends the connection, after what was sent before. A code alone will do. Before the client was let in, it
    /// refuses with 403.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if it has ended already.
    pub async fn close(&mut self, close: impl Into<Close>) -> Result<()> {
        self.connection.close(close.into())
    }

    /// How the connection ended, if it has.
    pub fn closed(&self) -> Option<Close> {
        self.connection.closed()
    }

    // ---- talking with others

    /// This connection's own channel, opened at the first call: others reach it there.
    ///
    /// # Errors
    /// What the layer says.
    pub async fn channel(&mut self) -> Result<&ChannelName> {
        if self.channel.is_none() {
            let mailbox = self.layer.new_channel().await?;
            self.channel = Some(mailbox.channel().clone());
            self.connection.set_mailbox(mailbox);
        }
        self.channel.as_ref().ok_or(Error::Closed)
    }

    /// Joins a group. The connection leaves all its groups when it ends.
    ///
    /// While the layer's backend is out of reach, an accepted socket becomes a member as soon as it is back: see
    /// [`ChannelLayer::group_add`].
    ///
    /// # Errors
    /// A name that is none, which is [the client's fault only if it came from it](Error#names), or what the layer says.
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

    /// Leaves a group. It is fine if the connection was not in it.
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

    /// Sends an event to all members of a group, oneself included: their `event` hooks receive it.
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
    /// As [`group_send`](Self::group_send).
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
    /// [`Misuse`](Error::Misuse) for an event that is no map, or what the layer says.
    #[track_caller]
    pub fn send_to<T: Serialize + ?Sized>(
        &mut self,
        channel: &ChannelName,
        event: &T,
    ) -> impl Future<Output = Result<()>> + Send {
        let message = usable("send_to", Message::encode(event));
        async { Ok(self.layer.send(channel, message?).await?) }
    }

    /// To whom and what, checked before anything is awaited: the event need not be `Sync`.
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

    // ---- for those who drive it

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Input>>> {
        if let Some(jobs) = &mut self.jobs
            && let Poll::Ready(error) = jobs.poll_failure(cx)
        {
            return Poll::Ready(Err(error));
        }
        if let Some(sends) = &mut self.sends
            && let Poll::Ready(error) = sends.poll_failure(cx)
        {
            return Poll::Ready(Err(error));
        }
        loop {
            self.heard = None;
            let input = ready!(self.connection.poll_next(cx));
            match &input {
                Some(Input::Frame(frame)) => {
                    self.hear(frame);
                    return Poll::Ready(Ok(input));
                }
                Some(Input::Event(message)) => match LayerCommand::from_message(message).probe() {
                    Some(probe) => users::answer(&self.layer, probe.clone()),
                    None => return Poll::Ready(Ok(input)),
                },
                Some(Input::Resumed(resumed)) => {
                    self.scope.transport = resumed.transport;
                    return Poll::Ready(Ok(input));
                }
                _ => return Poll::Ready(Ok(input)),
            }
        }
    }

    /// Can anything but the client's leaving still come?
    pub(crate) fn may_hear(&self) -> bool {
        self.channel.is_some() || self.jobs.is_some() || self.is_open()
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

/// A message that a consumer's value has become.
#[track_caller]
pub(crate) fn usable(call: &'static str, message: channel_layer::Result<Message>) -> Result<Message> {
    match message {
        Ok(message) => Ok(message),
        Err(fault) => Err(Error::Misuse(MisuseError::new(call, fault))),
    }
}

/// A message that reaches the members' sockets as JSON.
fn json_message<T: Serialize + ?Sized>(value: &T) -> channel_layer::Result<Message> {
    let text = serde_json::to_string(value);
    text.map(Message::websocket_text).map_err(|fault| channel_layer::Error::InvalidMessage(fault.into()))
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("path", &self.scope.raw_path())
            .field("phase", &self.connection.phase())
            .finish()
    }
}
