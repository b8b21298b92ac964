//! A transport for tests: any application, with plain values.

use std::{collections::VecDeque, future::poll_fn, task::Poll, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};

use super::PATIENCE;
use crate::{
    application::Application,
    error::{Error, Result},
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
    task: JoinHandle<Option<Error>>,
    /// Whether the outcome was asked for: a task returns it once.
    is_reported: bool,
}

impl ApplicationCommunicator {
    /// Starts the application.
    pub fn new(application: &dyn Application, scope: Scope, layer: impl ChannelLayer) -> Self {
        let wire = Context::open(scope, layer.into_shared(), |context| application.call(context));
        let (inputs, incoming) = unbounded_channel();
        let (outgoing, outputs) = unbounded_channel();
        let task = tokio::spawn(run(wire, incoming, outgoing));
        Self { inputs, outputs, kept: VecDeque::new(), task, is_reported: false }
    }

    /// Hands a value to the application.
    ///
    /// # Panics
    /// When the application has failed, with its error: a test that went on would hide it.
    pub async fn send_input(&mut self, incoming: Incoming) {
        if self.task.is_finished() {
            self.outcome().await.expect("the application lives");
        }
        self.feed(incoming);
    }

    /// The next output of the application.
    ///
    /// # Panics
    /// When the application has ended, or sends no output within a second. The application is ended then, as in Django
    /// Channels: it would not end by itself.
    pub async fn receive_output(&mut self) -> Outgoing {
        self.receive_within(PATIENCE).await
    }

    pub(super) async fn receive_within(&mut self, patience: Duration) -> Outgoing {
        match self.next_output(patience).await {
            Some(output) => output,
            None if self.outputs.is_closed() => match self.outcome().await {
                Ok(()) => panic!("the application has ended, and sends nothing more"),
                Err(error) => panic!("the application has failed: {error}"),
            },
            None => {
                self.task.abort();
                panic!("the application sent nothing within {patience:?}");
            }
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
        if let Some(kept) = self.kept.pop_front() {
            return Some(kept);
        }
        timeout(time, self.outputs.recv()).await.ok().flatten()
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
                let output = self.outputs.recv().await?;
                if is_it(&output) {
                    return Some(output);
                }
                self.kept.push_back(output);
            }
        });
        found.await.ok().flatten()
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
