//! A WebSocket without a network.

use std::{sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer};
use http::{HeaderName, HeaderValue, header};
use serde::{Serialize, de::DeserializeOwned};

use super::{ApplicationCommunicator, Expected, PATIENCE, PEER};
use crate::{
    application::Application,
    error::Result,
    frame::{Close, Frame},
    scope::Scope,
    wire::{Accept, Incoming, Outgoing, Refuse},
};

/// A client of a WebSocket application, in the same process.
///
/// The client waits for each output for at most a second ([`with_patience`](Self::with_patience)) of a clock that may be paused. A
/// test whose application falls silent fails, and says so.
pub struct WebsocketCommunicator {
    application: Arc<dyn Application>,
    layer: Arc<dyn ChannelLayer>,
    scope: Scope,
    patience: Duration,
    running: Option<ApplicationCommunicator>,
}

impl WebsocketCommunicator {
    /// A client that asks for `path`, which may have a query, with a channel layer of its own.
    ///
    /// # Panics
    /// When the path is invalid.
    pub fn new(application: Arc<dyn Application>, path: &str) -> Self {
        let mut scope = Scope::default();
        scope.peer = Some(PEER);
        scope.uri = path.parse().unwrap_or_else(|fault| panic!("path `{path}`: {fault}"));
        let layer = Arc::new(MemoryLayer::default());
        Self { application, layer, scope, patience: PATIENCE, running: None }
    }

    /// Uses this layer.
    pub fn with_layer(mut self, layer: impl ChannelLayer) -> Self {
        self.layer = layer.into_shared();
        self
    }

    /// Adds a header.
    ///
    /// # Panics
    /// When it is invalid.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap_or_else(|fault| panic!("header `{name}`: {fault}"));
        let value = HeaderValue::from_str(value).unwrap_or_else(|fault| panic!("header `{name}`: {fault}"));
        self.scope.headers.append(name, value);
        self
    }

    /// Offers subprotocols.
    ///
    /// # Panics
    /// When one is invalid as a header's value.
    pub fn with_subprotocols(self, offered: &[&str]) -> Self {
        self.with_header(header::SEC_WEBSOCKET_PROTOCOL.as_str(), &offered.join(", "))
    }

    /// Adds a value that middleware in front would have left for the consumer.
    pub fn with_extension<T: Clone + Send + Sync + 'static>(mut self, extension: T) -> Self {
        self.scope.extensions.insert(extension);
        self
    }

    /// Waits at most this time instead of a second.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks for admission; returns the acceptance.
    ///
    /// # Errors
    /// The refusal, if it was refused.
    ///
    /// # Panics
    /// When the application does not decide.
    pub async fn connect(&mut self) -> Result<Accept, Refuse> {
        let scope = self.scope.clone();
        let running = ApplicationCommunicator::new(&*self.application, scope, self.layer.clone());
        let running = self.running.insert(running);
        match running.next_output(self.patience).await {
            Some(Outgoing::Accept(accept)) => Ok(accept),
            Some(Outgoing::Refuse(refuse)) => Err(refuse),
            other => panic!("expected a decision about the client, not {other:?}"),
        }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When the application has failed, and before [`connect`](Self::connect).
    pub async fn send_to(&mut self, frame: impl Into<Frame>) {
        let frame = frame.into();
        self.application().send_input(Incoming::Frame(frame)).await;
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
    pub async fn receive_from(&mut self) -> Frame {
        let patience = self.patience;
        let output = self.application().receive_within(patience).await;
        frame(&output).unwrap_or_else(|| panic!("expected a frame, but it was {output:?}"))
    }

    /// The next frame, as JSON.
    ///
    /// # Panics
    /// Like [`receive_from`](Self::receive_from), and when the frame is no such JSON.
    pub async fn receive_json_from<T: DeserializeOwned>(&mut self) -> T {
        let frame = self.receive_from().await;
        frame.json().unwrap_or_else(|fault| panic!("{frame:?}: {fault}"))
    }

    /// Returns whether the application sends no output for this time.
    pub async fn receive_nothing(&mut self, time: Duration) -> bool {
        self.application().receive_nothing(time).await
    }

    /// The application's close; frames before it are skipped.
    ///
    /// # Panics
    /// When it does not.
    pub async fn receive_close(&mut self) -> Close {
        let patience = self.patience;
        let is_close = |output: &Outgoing| matches!(output, Outgoing::Close(_));
        match self.application().find_output(patience, is_close).await {
            Some(Outgoing::Close(close)) => close,
            _ => panic!("the application does not close the connection within {patience:?}"),
        }
    }

    /// Waits for a frame like this one. Others that come before it are kept for later.
    ///
    /// # Panics
    /// When it does not come; the message shows what came instead.
    pub async fn assert_sent(&mut self, expected: impl Into<Expected>) {
        let (expected, patience) = (expected.into(), self.patience);
        let application = self.application();
        let is_it = |output: &Outgoing| frame(output).is_some_and(|frame| expected.matches(&frame));
        if application.find_output(patience, is_it).await.is_none() {
            let instead: Vec<_> = application.kept().collect();
            panic!("{expected:?} was not sent; instead: {instead:?}");
        }
    }

    /// Waits the whole time for a frame like this one not to come. Others are kept for later.
    ///
    /// # Panics
    /// When it comes.
    pub async fn refute_sent(&mut self, unexpected: impl Into<Expected>) {
        let (unexpected, patience) = (unexpected.into(), self.patience);
        let is_it = |output: &Outgoing| frame(output).is_some_and(|frame| unexpected.matches(&frame));
        let found = self.application().find_output(patience, is_it).await;
        assert!(found.is_none(), "{unexpected:?} was sent");
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
        let (close, patience) = (close.into(), self.patience);
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
        let patience = self.patience;
        self.application().wait(patience).await
    }

    fn application(&mut self) -> &mut ApplicationCommunicator {
        self.running.as_mut().expect("`connect` comes first")
    }
}

/// The frame that a client would receive.
fn frame(output: &Outgoing) -> Option<Frame> {
    match output {
        Outgoing::Frame(frame) => Some(frame.clone()),
        Outgoing::Encoded(message) => Frame::from_message(message),
        _ => None,
    }
}
