//! A WebSocket without a network.

use std::{collections::VecDeque, panic::Location, sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer};
use http::header;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ApplicationCommunicator, Expected, Reconnection,
    expected::frame,
    host::TestHost,
    idle,
    reconnection::{ClientSession, Opened},
    request::{TestRequest, request_settings},
};
use crate::{
    application::Application,
    error::Result,
    frame::{Close, Frame},
    scope::Protocol,
    wire::{Accept, Incoming, Outgoing, Refuse},
};

/// A client of a WebSocket application, in the same process.
///
/// The client waits for each output for at most a second ([`with_patience`](Self::with_patience)) of a clock that may be paused. A
/// test whose application falls silent fails, and says so.
pub struct WebsocketCommunicator {
    host: TestHost,
    request: TestRequest,
    running: Option<ApplicationCommunicator>,
    /// The state of a client whose connection is cut.
    away: Option<Away>,
}

/// The client of a resumable session whose connection is cut.
struct Away {
    session: Box<ClientSession>,
    /// The outputs that it has received.
    kept: VecDeque<Outgoing>,
}

request_settings!(WebsocketCommunicator);

impl WebsocketCommunicator {
    /// A client that asks for `path`, which may have a query, with a channel layer of its own.
    ///
    /// # Panics
    /// When the path is invalid.
    pub fn new(application: Arc<dyn Application>, path: &str) -> Self {
        Self::with_host(TestHost::new(application, Arc::new(MemoryLayer::default()), None), path)
    }

    pub(super) fn with_host(host: TestHost, path: &str) -> Self {
        Self { host, request: TestRequest::new(Protocol::WebSocket, path), running: None, away: None }
    }

    /// Uses this layer.
    pub fn with_layer(mut self, layer: impl ChannelLayer) -> Self {
        self.host = self.host.with_layer(layer.into_shared());
        self
    }

    /// Offers subprotocols.
    ///
    /// # Panics
    /// When one is invalid as a header's value.
    pub fn with_subprotocols(self, offered: &[&str]) -> Self {
        self.with_header(header::SEC_WEBSOCKET_PROTOCOL.as_str(), &offered.join(", "))
    }

    /// Asks for admission; returns the acceptance.
    ///
    /// # Errors
    /// The refusal, if it was refused.
    ///
    /// # Panics
    /// When the application does not decide.
    #[track_caller]
    pub fn connect(&mut self) -> impl Future<Output = Result<Accept, Refuse>> {
        self.connect_at(Location::caller())
    }

    async fn connect_at(&mut self, at: &Location<'_>) -> Result<Accept, Refuse> {
        assert!(self.running.is_none(), "{at}: the client has connected before");
        let session = self.host.resumes().then(Box::default);
        let (mut accept, opened) = self.open(session, 0, at).await?;
        if let Some(opened) = opened {
            accept.subprotocol = opened.protocol;
        }
        Ok(accept)
    }

    /// Opens a connection, of a session if there is one, whose last `lost` frames the client claims not to have.
    async fn open(
        &mut self,
        session: Option<Box<ClientSession>>,
        lost: u64,
        at: &Location<'_>,
    ) -> Result<(Accept, Option<Opened>), Refuse> {
        let patience = self.request.patience;
        let mut scope = self.request.scope.clone();
        if let Some(session) = &session {
            let offered: Vec<_> = scope.subprotocols().collect();
            let offer = session.offer(&offered.join(", "), lost);
            scope.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offer);
        }
        let running = self.running.insert(self.host.open(scope));
        let accept = match running.receive_within(patience, "a decision about the client", at).await {
            Outgoing::Accept(accept) => accept,
            Outgoing::Refuse(refuse) => return Err(refuse),
            other => panic!("expected a decision about the client, but it was {other:?}"),
        };
        let Some(mut session) = session else { return Ok((accept, None)) };
        session.lose(lost);
        running.set_session(session);
        let opened = running.receive_opening(patience).await;
        Ok((accept, Some(opened)))
    }

    /// Breaks the connection without a close frame, as when a train enters a tunnel. Frames that were sent in either direction have arrived.
    ///
    /// Without [resumable sessions](super::TestApp::with_resume) the application ends, as [`wait`](Self::wait) tells. With them its
    /// session waits for [`resume`](Self::resume). Frames that are sent meanwhile are kept by both sides.
    ///
    /// # Panics
    /// Before [`connect`](Self::connect), and when it is cut already.
    pub async fn cut(&mut self) {
        assert!(self.away.is_none(), "the connection is cut already");
        if idle::is_paused() {
            idle::settle().await; // what is under way arrives
        }
        let patience = self.request.patience;
        let application = self.application();
        if let (Some(session), kept) = application.cut() {
            application.wait(patience).await.expect("the connection ends");
            self.away = Some(Away { session, kept });
            self.running = None;
        }
    }

    /// Returns to the session after a [cut](Self::cut).
    ///
    /// If its time is over, which a paused clock makes so by [`advance`](super::advance), the client gets a new session. If more was sent
    /// meanwhile than the session's log keeps, it has a gap.
    ///
    /// # Errors
    /// The refusal, if the client was refused. It may try again.
    ///
    /// # Panics
    /// When the connection is not cut.
    #[track_caller]
    pub fn resume(&mut self) -> impl Future<Output = Result<Reconnection, Refuse>> {
        self.resume_at(0, Location::caller())
    }

    /// Returns to the session as a client that has lost the last `lost` frames before the [cut](Self::cut): the session does not keep
    /// them any more, and the consumer's [`resumed`](crate::Consumer::resumed) is told of a gap.
    ///
    /// # Errors
    /// Those of [`resume`](Self::resume).
    ///
    /// # Panics
    /// When the connection is not cut, and when the client has received fewer frames.
    #[track_caller]
    pub fn resume_with_gap(&mut self, lost: u64) -> impl Future<Output = Result<Reconnection, Refuse>> {
        self.resume_at(lost, Location::caller())
    }

    async fn resume_at(&mut self, lost: u64, at: &Location<'_>) -> Result<Reconnection, Refuse> {
        let Away { session, kept } = self.away.take().expect("`cut` of a resumable session comes first");
        let received = session.cursor();
        assert!(lost <= received, "{at}: a client that has received {received} frames cannot lose {lost}");
        let before = session.clone();
        let opened = match self.open(Some(session), lost, at).await {
            Ok((_, opened)) => opened.expect("it has a session"),
            Err(refuse) => {
                self.away = Some(Away { session: before, kept });
                return Err(refuse);
            }
        };
        let application = self.application();
        application.keep_before(kept);
        application.feed_again();
        if idle::is_paused() {
            idle::settle().await;
            application.keep_waiting();
            if application.kept().any(|output| matches!(output, Outgoing::Close(_))) {
                return Ok(Reconnection::Ended);
            }
        }
        Ok(opened.reconnection)
    }

    /// Sends a frame. A client of a resumable session whose connection is cut sends it once it has resumed.
    ///
    /// # Panics
    /// When the application has failed, and before [`connect`](Self::connect).
    pub async fn send_to(&mut self, frame: impl Into<Frame>) {
        let frame = frame.into();
        if let Some(away) = &mut self.away {
            let _later = away.session.send(frame);
            return;
        }
        let application = self.application();
        application.check().await;
        application.feed_frame(frame);
    }

    /// Sends a text frame of JSON.
    ///
    /// # Panics
    /// Like [`send_to`](Self::send_to), and when `value` cannot be serialised.
    pub async fn send_json_to<T: Serialize + ?Sized>(&mut self, value: &T) {
        let frame = Frame::from_json(value).expect("a value to be serialised");
        self.send_to(frame).await;
    }

    /// The next frame.
    ///
    /// # Panics
    /// When another output comes, or none.
    #[track_caller]
    pub fn receive_from(&mut self) -> impl Future<Output = Frame> {
        self.receive_at(Location::caller())
    }

    async fn receive_at(&mut self, at: &Location<'_>) -> Frame {
        let patience = self.request.patience;
        let output = self.application().receive_within(patience, "a frame", at).await;
        frame(&output).unwrap_or_else(|| panic!("{at}: expected a frame, but it was {output:?}"))
    }

    /// The next frame, as JSON.
    ///
    /// # Panics
    /// Like [`receive_from`](Self::receive_from), and when the frame is no such JSON.
    #[track_caller]
    pub fn receive_json_from<T: DeserializeOwned>(&mut self) -> impl Future<Output = T> {
        let at = Location::caller();
        async move {
            let frame = self.receive_at(at).await;
            frame.json().unwrap_or_else(|fault| panic!("{at}: {frame:?}: {fault}"))
        }
    }

    /// Returns whether the application sends no output for this time.
    pub async fn receive_nothing(&mut self, time: Duration) -> bool {
        self.application().receive_nothing(time).await
    }

    /// The application's close; frames before it are skipped.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn receive_close(&mut self) -> impl Future<Output = Close> {
        let at = Location::caller();
        async move {
            let patience = self.request.patience;
            let is_close = |output: &Outgoing| matches!(output, Outgoing::Close(_));
            match self.application().find_output(patience, is_close).await {
                Some(Outgoing::Close(close)) => close,
                _ => {
                    let application = self.application();
                    let state = application.describe(patience).await;
                    let instead: Vec<_> = application.kept().collect();
                    panic!("{at}: expected a close, but {state}; instead: {instead:?}");
                }
            }
        }
    }

    /// Waits for a frame like this one. Others that come before it are kept for later.
    ///
    /// # Panics
    /// When it does not come; the message shows what came instead.
    #[track_caller]
    pub fn assert_sent(&mut self, expected: impl Into<Expected>) -> impl Future<Output = ()> {
        self.assert_at(Location::caller(), expected.into())
    }

    async fn assert_at(&mut self, at: &Location<'_>, expected: Expected) {
        let patience = self.request.patience;
        let application = self.application();
        let is_it = |output: &Outgoing| frame(output).is_some_and(|frame| expected.matches(&frame));
        if application.find_output(patience, is_it).await.is_none() {
            let state = application.describe(patience).await;
            let instead: Vec<_> = application.kept().collect();
            panic!("{at}: {expected:?} was not sent; instead: {instead:?}; {state}");
        }
    }

    /// Checks that no frame like this one is sent. Others are kept for later.
    ///
    /// With a paused clock, which is not moved: the check is over once every task waits for the clock or for another one, and all calls
    /// of [`blocking`](crate::blocking) have ended. A frame that a timer would send is not seen; [`advance`](super::advance) first.
    /// Without a paused clock the check waits for a second.
    ///
    /// # Panics
    /// When it is sent, and when tasks never come to rest.
    #[track_caller]
    pub fn refute_sent(&mut self, unexpected: impl Into<Expected>) -> impl Future<Output = ()> {
        let (at, unexpected) = (Location::caller(), unexpected.into());
        let text = format!("{at}: {unexpected:?}");
        self.refute(text, move |frame| unexpected.matches(frame))
    }

    /// Checks that no frame at all is sent, like [`refute_sent`](Self::refute_sent). Frames that were kept count.
    ///
    /// # Panics
    /// When one is sent, and when tasks never come to rest.
    #[track_caller]
    pub fn refute_any_sent(&mut self) -> impl Future<Output = ()> {
        self.refute(format!("{}: a frame", Location::caller()), |_| true)
    }

    async fn refute(&mut self, unexpected: String, matches: impl Fn(&Frame) -> bool) {
        let patience = self.request.patience;
        let is_it = |output: &Outgoing| frame(output).is_some_and(|frame| matches(&frame));
        if let Some(output) = self.application().find_sent(patience, is_it).await {
            panic!("{unexpected} was sent: {output:?}");
        }
    }

    /// Leaves with code 1000, and waits for the application to end.
    ///
    /// # Panics
    /// When the application fails, or does not end.
    pub async fn disconnect(self) {
        self.disconnect_with(Close::NORMAL).await;
    }

    /// Leaves with another code.
    ///
    /// # Panics
    /// Like [`disconnect`](Self::disconnect).
    pub async fn disconnect_with(mut self, close: impl Into<Close>) {
        let (close, patience) = (close.into(), self.request.patience);
        let application = self.application();
        application.feed(Incoming::Disconnect(close));
        application.wait(patience).await.expect("the application ends well");
    }

    /// Waits for the application to end, and returns its outcome.
    ///
    /// # Errors
    /// Those of [`ApplicationCommunicator::wait`].
    ///
    /// # Panics
    /// Before [`connect`](Self::connect).
    pub async fn wait(&mut self) -> Result<()> {
        let patience = self.request.patience;
        self.application().wait(patience).await
    }

    fn application(&mut self) -> &mut ApplicationCommunicator {
        let missing = if self.away.is_some() { "the connection is cut" } else { "`connect` comes first" };
        self.running.as_mut().expect(missing)
    }
}
