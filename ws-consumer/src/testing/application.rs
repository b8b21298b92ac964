//! A transport for tests: any application, with plain values.

use std::{collections::VecDeque, future::poll_fn, panic::Location, task::Poll, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};

use super::{
    PATIENCE, idle,
    reconnection::{ClientSession, Opened},
};
use crate::{
    application::Application,
    connections::Registration,
    error::{Error, Result},
    frame::{Close, Frame},
    scope::Scope,
    socket::Context,
    wire::{Incoming, Outgoing, Wire},
};

/// Runs an application on one connection, in a task, and exchanges values with it as a transport does.
///
/// [`WebsocketCommunicator`](super::WebsocketCommunicator) and [`HttpCommunicator`](super::HttpCommunicator) are made of
/// it. Dropping it ends the application at once; nothing else can.
pub struct ApplicationCommunicator {
    // Unbounded: a test that floods is bounded by its own end, and one that waited for room could wait for itself.
    inputs: UnboundedSender<Incoming>,
    outputs: UnboundedReceiver<Outgoing>,
    /// Outputs that were received and skipped, for later.
    kept: VecDeque<Outgoing>,
    /// The client's side of a resumable session. Boxed: most connections have none.
    session: Option<Box<ClientSession>>,
    task: JoinHandle<Option<Error>>,
    /// Whether the outcome was asked for: a task returns it once.
    is_reported: bool,
}

impl ApplicationCommunicator {
    /// Starts the application.
    pub fn new(application: &dyn Application, scope: Scope, layer: impl ChannelLayer) -> Self {
        let settings = application.settings_at(&scope, layer.into_shared().into());
        Self::from_wire(Context::open(scope, settings, |context| application.call(context)), None)
    }

    pub(super) fn from_wire(wire: Wire, registration: Option<Registration>) -> Self {
        let (inputs, incoming) = unbounded_channel();
        let (outgoing, outputs) = unbounded_channel();
        let task = tokio::spawn(async move {
            let _registration = registration;
            run(wire, incoming, outgoing).await
        });
        Self { inputs, outputs, kept: VecDeque::new(), session: None, task, is_reported: false }
    }

    /// Hands a value to the application.
    ///
    /// # Panics
    /// When the application has failed, with its error: a test that went on would hide it.
    pub async fn send_input(&mut self, incoming: Incoming) {
        self.check().await;
        self.feed(incoming);
    }

    /// Panics when the application has failed.
    pub(super) async fn check(&mut self) {
        if self.task.is_finished() {
            self.outcome().await.expect("the application lives");
        }
    }

    /// The next output of the application.
    ///
    /// # Panics
    /// When the application has ended, or sends no output within a second. The application is ended then, as in Django
    /// Channels: it would not end by itself.
    #[track_caller]
    pub fn receive_output(&mut self) -> impl Future<Output = Outgoing> {
        self.receive_within(PATIENCE, "an output", Location::caller())
    }

    /// The next output, with the test's expectation and its place for the message of a panic.
    pub(super) async fn receive_within(
        &mut self,
        patience: Duration,
        expected: &str,
        at: &Location<'_>,
    ) -> Outgoing {
        match self.next_output(patience).await {
            Some(output) => output,
            None => {
                let state = self.describe(patience).await;
                self.task.abort();
                panic!("{at}: expected {expected}, but {state}");
            }
        }
    }

    /// The state of an application that sends nothing, for the message of a panic.
    pub(super) async fn describe(&mut self, patience: Duration) -> String {
        if !self.outputs.is_closed() {
            return format!("the application sent nothing within {patience:?}");
        }
        match self.outcome().await {
            Ok(()) => "the application has ended".to_owned(),
            Err(error) => format!("the application has failed: {}", error.causes()),
        }
    }

    /// Returns whether the application sends no output for this time.
    pub async fn receive_nothing(&mut self, time: Duration) -> bool {
        match self.next_output(time).await {
            Some(output) => {
                self.kept.push_front(output);
                false
            }
            None => true,
        }
    }

    /// Waits for the application to end, and returns its outcome.
    ///
    /// # Errors
    /// The application's error; [`TimedOut`](Error::TimedOut) if it did not within `patience`, which ends it.
    pub async fn wait(&mut self, patience: Duration) -> Result<()> {
        match timeout(patience, self.outcome()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.task.abort();
                Err(Error::TimedOut(patience))
            }
        }
    }

    /// Ends the application at once.
    ///
    /// # Errors
    /// The error that it had ended with before.
    pub async fn stop(mut self) -> Result<()> {
        self.task.abort();
        self.outcome().await
    }

    /// Hands over a value like [`send_input`](Self::send_input). No effect on an application that has ended.
    pub(super) fn feed(&mut self, incoming: Incoming) {
        let _ended = self.inputs.send(incoming);
    }

    /// The next output within `time`.
    pub(super) async fn next_output(&mut self, time: Duration) -> Option<Outgoing> {
        self.find_output(time, |_| true).await
    }

    /// The first output within `time` for which `is_it` holds; those before it are kept for later.
    pub(super) async fn find_output(
        &mut self,
        time: Duration,
        is_it: impl Fn(&Outgoing) -> bool,
    ) -> Option<Outgoing> {
        if let Some(at) = self.kept.iter().position(&is_it) {
            return self.kept.remove(at);
        }
        let found = timeout(time, async {
            loop {
                let Some(output) = translate(&mut self.session, self.outputs.recv().await?) else { continue };
                if is_it(&output) {
                    return Some(output);
                }
                self.kept.push_back(output);
            }
        });
        found.await.ok().flatten()
    }

    /// The first output for which `is_it` holds, of those that the application sends before it waits for something other than
    /// its tasks; those before it are kept for later. `patience`: the wait where the clock is not paused.
    pub(super) async fn find_sent(
        &mut self,
        patience: Duration,
        is_it: impl Fn(&Outgoing) -> bool,
    ) -> Option<Outgoing> {
        if !idle::is_paused() {
            return self.find_output(patience, is_it).await;
        }
        assert!(idle::settle().await, "tasks never come to rest: nothing can be refuted");
        self.keep_waiting();
        let at = self.kept.iter().position(is_it)?;
        self.kept.remove(at)
    }

    /// Keeps all outputs that have arrived.
    pub(super) fn keep_waiting(&mut self) {
        while let Ok(output) = self.outputs.try_recv() {
            self.kept.extend(translate(&mut self.session, output));
        }
    }

    /// Turns the client into one of a resumable session.
    pub(super) fn set_session(&mut self, session: Box<ClientSession>) {
        self.session = Some(session);
    }

    /// Waits for the beginning of a connection of the session. Frames that come with it are kept.
    pub(super) async fn receive_opening(&mut self, patience: Duration) -> Opened {
        loop {
            if let Some(opened) = self.session.as_mut().and_then(|session| session.take_opened()) {
                return opened;
            }
            let Ok(Some(output)) = timeout(patience, self.outputs.recv()).await else {
                panic!("expected the beginning of a session, but {}", self.describe(patience).await);
            };
            self.kept.extend(translate(&mut self.session, output));
        }
    }

    /// Hands over again what the server has not received of the session.
    pub(super) fn feed_again(&mut self) {
        let frames: Vec<_> = self.session.iter().flat_map(|session| session.unacknowledged()).collect();
        frames.into_iter().for_each(|frame| self.feed(Incoming::Frame(frame)));
    }

    /// Hands over a frame like [`feed`](Self::feed), as the client sends it.
    pub(super) fn feed_frame(&mut self, frame: Frame) {
        let frame = match &mut self.session {
            Some(session) => session.send(frame),
            None => frame,
        };
        self.feed(Incoming::Frame(frame));
    }

    /// Breaks the connection, and returns what the client keeps: its session, and the outputs that it has received.
    pub(super) fn cut(&mut self) -> (Option<Box<ClientSession>>, VecDeque<Outgoing>) {
        self.keep_waiting();
        if let Some(session) = &self.session {
            self.feed(Incoming::Frame(session.acknowledgement()));
        }
        self.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
        (self.session.take(), std::mem::take(&mut self.kept))
    }

    /// Keeps outputs of an earlier connection, before all others.
    pub(super) fn keep_before(&mut self, mut earlier: VecDeque<Outgoing>) {
        earlier.append(&mut self.kept);
        self.kept = earlier;
    }

    /// The outputs that are kept for later.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Outgoing> {
        self.kept.iter()
    }

    async fn outcome(&mut self) -> Result<()> {
        if self.is_reported {
            return Ok(());
        }
        let outcome = (&mut self.task).await;
        self.is_reported = true;
        match outcome {
            Ok(Some(error)) => Err(error),
            Ok(None) | Err(_) => Ok(()), // an `Err` was ended by us
        }
    }
}

impl Drop for ApplicationCommunicator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the output as an application would have sent it.
fn translate(session: &mut Option<Box<ClientSession>>, output: Outgoing) -> Option<Outgoing> {
    match session {
        Some(session) => session.receive(output),
        None => Some(output),
    }
}

async fn run(
    mut wire: Wire,
    mut inputs: UnboundedReceiver<Incoming>,
    outputs: UnboundedSender<Outgoing>,
) -> Option<Error> {
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            while wire.wants_input()
                && let Poll::Ready(Some(incoming)) = inputs.poll_recv(cx)
            {
                wire.feed(incoming);
                moved = true;
            }
            let ended = wire.poll(cx).is_ready();
            moved |= pass_on(&mut wire, &outputs);
            if ended {
                return Poll::Ready(());
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await;
    wire.take_error()
}

fn pass_on(wire: &mut Wire, outputs: &UnboundedSender<Outgoing>) -> bool {
    let (mut taken, mut begun) = (false, false);
    wire.take_outputs(|waiting| {
        for output in waiting.drain(..) {
            taken = true;
            begun |= matches!(output, Outgoing::Accept(_) | Outgoing::Head(_));
            let _closed = outputs.send(output);
        }
    });
    if begun {
        wire.accepted();
    }
    taken
}
