//! The common part of a WebSocket and a plain request.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{self, Poll, ready},
};

use channel_layer::{ChannelLayer, ChannelName, Message};

use super::{handle::Handle, jobs::Jobs, last_text::LastText, pending_sends::PendingSends, timers::Timers};
use crate::{
    error::{Error, FailureReports, Result},
    frame::Close,
    scope::{Protocol, Scope},
    settings::ConnectionSettings,
    wire::{
        Connection, Input, LayerCommand, OutputLimits, PROBE, Phase, Probe, Profile, Refuse, Running, Wire,
    },
};

/// A client's connection, whether it is a WebSocket or a plain request: its scope, its groups, its events and its end.
///
/// An [`Application`](crate::Application) is called with a context, and makes a [`Socket`](crate::Socket) or an
/// [`Exchange`](crate::Exchange) of it; both dereference to it. Middleware passes it on. It is no
/// [`std::task::Context`].
///
/// Every function here is cancel safe, unless it says otherwise: a dropped future has done all of its work or none.
pub struct Context {
    pub(super) connection: Arc<Connection>,
    /// Boxed: it is rarely looked at, and every connection's future would carry it.
    pub(super) scope: Box<Scope>,
    pub(super) settings: ConnectionSettings,
    pub(super) channel: Option<ChannelName>,
    /// The tasks that run concurrently with the hooks. Boxed: few connections have any.
    pub(super) jobs: Option<Box<Jobs>>,
    /// Messages to groups that are under way. Boxed as well.
    pub(super) sends: Option<Box<PendingSends>>,
    /// Boxed as well.
    pub(super) timers: Option<Box<Timers>>,
    /// The text that the client sent last, while it is handled.
    pub(super) last_text: LastText,
    /// Numbers the requests to the client. Here, so that the next application does not use a number again.
    pub(super) requests: u32,
}

impl Context {
    /// Opens the two ends of a new connection. `application` runs behind it. `settings`: a channel layer, or what the application
    /// [makes of it](crate::Application::settings_at).
    pub fn open(
        scope: Scope,
        settings: impl Into<ConnectionSettings>,
        application: impl FnOnce(Self) -> Running,
    ) -> Wire {
        Self::open_with(Profile::CLIENT, scope, settings.into(), application)
    }

    pub(crate) fn open_with(
        profile: Profile,
        scope: Scope,
        settings: ConnectionSettings,
        application: impl FnOnce(Self) -> Running,
    ) -> Wire {
        let connection = Arc::new(Connection::new(scope.protocol == Protocol::Http, profile));
        connection.set_limits(settings.output().clone());
        let context = Self {
            connection: connection.clone(),
            scope: Box::new(scope),
            settings,
            channel: None,
            jobs: None,
            sends: None,
            timers: None,
            last_text: LastText::default(),
            requests: 0,
        };
        Wire::new(connection, application(context))
    }

    /// The scope: everything known about the connection.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The scope, to be added to.
    pub fn scope_mut(&mut self) -> &mut Scope {
        self.scope.forget_path(); // the URI may be replaced
        &mut self.scope
    }

    /// The channel layer.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        self.settings.layer()
    }

    /// The settings of the connection.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// Whether the client asks for a WebSocket. If not, this is a plain request.
    pub fn is_websocket(&self) -> bool {
        self.scope.protocol == Protocol::WebSocket
    }

    /// Sets the limits of output that waits for this client, instead of the service's.
    pub fn set_output_limits(&mut self, limits: impl Into<Arc<OutputLimits>>) {
        self.connection.set_limits(limits.into());
    }

    /// Shares the rate at which failures are logged with the service's other connections.
    pub(crate) fn set_reports(&self, reports: Arc<FailureReports>) {
        self.connection.set_reports(reports);
    }

    /// Logs that `hook` has failed.
    pub(crate) fn report(&self, hook: &'static str, error: &Error) {
        self.connection.report(Some(self.scope.raw_path()), hook, error);
    }

    /// Answers the client's request with an HTTP response, and ends the connection; a status alone will do.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if the client has been accepted or refused already.
    pub async fn refuse(&mut self, refuse: impl Into<Refuse>) -> Result<()> {
        self.connection.refuse(refuse.into())
    }

    /// Whether the client has been admitted and is still there.
    pub fn is_open(&self) -> bool {
        matches!(self.connection.phase(), Phase::Accepting | Phase::Open)
    }

    /// The next frame, part of a body, or event; `None` once the connection has ended.
    ///
    /// # Errors
    /// The error of a job that [`spawn`](Self::spawn) started, or of a
    /// [pipelined](Self::group_send_pipelined) message.
    pub async fn next(&mut self) -> Result<Option<Input>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Ends the connection, after everything sent before. A code alone will do. A client that has not been admitted is
    /// refused with 403.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if it has ended already.
    pub async fn close(&mut self, close: impl Into<Close>) -> Result<()> {
        self.connection.close(close.into())
    }

    /// Returns how the connection ended, if it has.
    pub fn closed(&self) -> Option<Close> {
        self.connection.closed()
    }

    /// The connection's channel, opened at the first call: others reach the connection there.
    ///
    /// # Errors
    /// The layer's errors.
    pub async fn channel(&mut self) -> Result<&ChannelName> {
        if self.channel.is_none() {
            let mailbox = self.layer().open(self.settings.mailbox().clone()).await?;
            self.channel = Some(mailbox.channel().clone());
            self.connection.set_mailbox(mailbox);
        }
        self.channel.as_ref().ok_or(Error::Closed)
    }

    /// Returns the half for other tasks: it sends frames to a WebSocket, and closes.
    pub fn handle(&self) -> Handle {
        Handle::new(self.connection.clone())
    }

    /// Runs `job` concurrently with the hooks, in a task that ends with the connection at the latest: so several events, or
    /// frames, are handled at the same time. Waits while `limit` jobs are running, and so bounds them.
    ///
    /// Hooks run one at a time and in order; jobs run at once and in no order. A job has no socket: it sends with a
    /// [`Handle`](crate::Handle). One that fails, or panics, is reported as if `event` had.
    ///
    /// ```
    /// # use ws_consumer::{Consumer, NoEvents, Frame, Result, Socket};
    /// # struct Thumbnails;
    /// # async fn resize(_: Frame) -> Vec<u8> { Vec::new() }
    /// # impl Consumer for Thumbnails {
    /// # type Event = NoEvents;
    /// async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
    ///     let handle = socket.handle();
    ///     socket.spawn(4, async move { handle.send(resize(frame).await).await }).await
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of an earlier job.
    pub async fn spawn(
        &mut self,
        limit: usize,
        job: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        self.jobs.get_or_insert_default().spawn(limit, job).await
    }

    pub(crate) fn poll_next(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<Option<Input>>> {
        self.poll_next_by(cx, Connection::poll_next)
    }

    /// The next thing to handle while others are being handled.
    pub(crate) fn poll_next_beside(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<Option<Input>>> {
        self.poll_next_by(cx, Connection::poll_next_beside)
    }

    fn poll_next_by(
        &mut self,
        cx: &mut task::Context<'_>,
        poll_next: impl Fn(&Connection, &mut task::Context<'_>) -> Poll<Option<Input>>,
    ) -> Poll<Result<Option<Input>>> {
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
            self.last_text.clear();
            if let Some(timers) = &mut self.timers
                && self.connection.takes_events()
                && let Poll::Ready(message) = timers.poll_due(cx)
            {
                match self.connection.take_event(message) {
                    Some(event) => return Poll::Ready(Ok(Some(event))),
                    None => continue,
                }
            }
            let input = ready!(poll_next(&self.connection, cx));
            match &input {
                Some(Input::Frame(frame)) => self.last_text.set_frame(frame),
                Some(Input::Event(message)) => {
                    if let Some(probe) = LayerCommand::from_message(message).probe() {
                        answer_probe(self.layer(), probe.clone());
                        continue;
                    }
                }
                Some(Input::Resumed(resumed)) => self.scope.transport = resumed.transport,
                _ => {}
            }
            return Poll::Ready(Ok(input));
        }
    }

    /// Whether anything but the client's leaving can still come.
    pub(crate) fn may_receive(&self) -> bool {
        let has_timers = self.timers.as_ref().is_some_and(|timers| !timers.is_empty());
        self.channel.is_some() || self.jobs.is_some() || has_timers || self.is_open()
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

/// Answers in a task, so that the connection does not wait for the layer.
fn answer_probe(layer: &Arc<dyn ChannelLayer>, probe: Probe) {
    let layer = layer.clone();
    tokio::spawn(async move {
        let answer = Message::new(PROBE).with("user", probe.user);
        if let Err(error) = layer.send(&probe.reply_to, answer).await {
            tracing::debug!(%error, "the answer to a probe was not delivered");
        }
    });
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("path", &self.scope.raw_path())
            .field("phase", &self.connection.phase())
            .finish()
    }
}
