//! The transport's end of a connection.
//!
//! A transport knows bytes, frames and HTTP; the application behind a [`Socket`](crate::Socket) knows none of
//! them. Between the two are plain values: input is [fed](Wire::feed), output is [taken](Wire::take_outputs).
//! The application runs inside [`Wire::poll`], in the transport's task: one task per connection, no hand-over between two,
//! and while a hook waits the transport still answers pings. A WebSocket, a long poll and a test each hold a `Wire`.
//!
//! | mechanism | file |
//! |---|---|
//! | phases, the ways to end, draining | `lifecycle` |
//! | the client's input and events, until the application takes them | `inbox` |
//! | messages of the channel layer, from the mailbox | `inbound` |
//! | messages for the connection itself | `commands` |
//! | output, until the transport takes it; the overflow policy | `outbox` |
//! | equal frames of several connections | `shared_frames` |
//! | hooks of middleware | `hooks` |
//! | tasks that wait | `wakers` |
//! | the log of failures | `failures` |
//!
//! None of them knows another, except that `outbox` uses `shared_frames`. `connection` combines them behind one lock; `ending` has the
//! verbs that decide about a client and end the connection, `observers` the calls of middleware and statistics.

mod commands;
mod connection;
mod ending;
mod failures;
mod hooks;
mod inbound;
mod inbox;
mod lifecycle;
mod observers;
mod outbox;
mod profile;
mod shared_frames;
mod values;
mod wakers;

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use self::connection::MailboxPoll;
pub(crate) use self::{
    commands::{CLOSE, LayerCommand, PROBE, Probe},
    connection::Connection,
    ending::PendingInput,
    hooks::{AnswerHook, Finishing, Verdict},
    lifecycle::Phase,
    profile::{LayerNumber, Profile},
};
pub use self::{
    outbox::OutputLimits,
    values::{Accept, Head, Incoming, Input, Outgoing, Refuse, Resumed},
};
use crate::{
    error::{Error, Result},
    frame::Close,
};

/// A running application: a boxed future, one per connection.
pub type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// The transport's end, with the application inside.
pub struct Wire {
    connection: Arc<Connection>,
    /// `None` once it has ended, so that its memory is freed.
    application: Option<Running>,
    /// The error that it ended with. Boxed: it is rare.
    failure: Option<Box<Error>>,
}

impl Wire {
    pub(crate) fn new(connection: Arc<Connection>, application: Running) -> Self {
        Self { connection, application: Some(application), failure: None }
    }

    /// Hands a value to the application. The next [`poll`](Self::poll) lets it run.
    pub fn feed(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Frame(frame) => self.connection.push_input(Input::Frame(frame)),
            Incoming::HttpBody { chunk, more } => self.connection.push_input(Input::Body { chunk, more }),
            Incoming::Disconnect(close) => self.connection.disconnected(close),
        }
    }

    /// Whether the application keeps up. While it does not, the transport stops reading from the client.
    pub fn wants_input(&self) -> bool {
        self.connection.wants_input()
    }

    /// Lets the application run until it waits. Ready once it has ended; its last output is still to be taken.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mailbox = self.connection.begin_poll(cx);
            let ended = self.poll_application(cx);
            let (again, finishing) = self.connection.end_poll();
            if let Some(finishing) = finishing
                && self.poll_finish(finishing, cx).is_pending()
                && ended
            {
                return Poll::Pending;
            }
            if ended {
                return Poll::Ready(());
            }
            if mailbox == MailboxPoll::Corked {
                // Deferred until the runtime has looked at all its sockets: other senders' messages come in
                // first, and leave in the same write.
                return pin!(tokio::task::yield_now()).poll(cx);
            }
            if !again {
                return Poll::Pending;
            }
        }
    }

    /// Shows the waiting output to `take`, which removes what it sends. Returns true if the application waited for room
    /// and has it now: poll again.
    pub fn take_outputs(&mut self, take: impl FnMut(&mut VecDeque<Outgoing>)) -> bool {
        self.connection.take_outputs(take)
    }

    /// Whether output waits to be sent.
    pub(crate) fn has_outputs(&self) -> bool {
        self.connection.has_outputs()
    }

    /// Whether the connection ends once the application has handled its input.
    pub(crate) fn is_ending(&self) -> bool {
        self.connection.is_ending()
    }

    /// The answer to the client is on its way: the application may go on.
    pub fn accepted(&mut self) {
        self.connection.accepted();
    }

    /// Whether the application has ended.
    pub fn has_ended(&self) -> bool {
        self.application.is_none()
    }

    /// The close with which the connection ended, if it has.
    pub fn close(&self) -> Option<Close> {
        self.connection.closed()
    }

    /// The error that the application failed with, once.
    pub fn take_error(&mut self) -> Option<Error> {
        self.failure.take().map(|error| *error)
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Ready once the answer may leave. Guards run here, outside of the connection's lock.
    fn poll_finish(&self, mut finishing: Finishing, cx: &mut Context<'_>) -> Poll<()> {
        let finished = finishing.as_mut().poll(cx);
        match finished {
            Poll::Pending => self.connection.hold_on(finishing),
            Poll::Ready(()) => self.connection.release(),
        }
        finished
    }

    /// Returns whether the application has ended.
    fn poll_application(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(application) = &mut self.application else { return true };
        let polled = catch_unwind(AssertUnwindSafe(|| application.as_mut().poll(cx)));
        let outcome = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(panic) => Err(Error::from_panic(&*panic)),
        };
        self.drop_application();
        self.connection.close_for(&outcome);
        if let Err(error) = &outcome
            && !self.connection.was_reported(error)
            && self.connection.profile().reports_failures
        {
            self.connection.report(None, "application", error);
        }
        // A client that has left is no failure of the application.
        self.failure = outcome.err().filter(|error| !matches!(error, Error::Closed)).map(Box::new);
        true
    }

    /// A future that panicked may well panic again in its `Drop`; that must not end the server's task.
    fn drop_application(&mut self) {
        let application = self.application.take();
        let dropped: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| drop(application)));
        if dropped.is_err() {
            tracing::error!("a panic while an application was dropped");
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.connection.disconnected(Close::ABNORMAL.into());
        self.drop_application();
    }
}

#[cfg(test)]
mod tests {
    use super::connection::ConnectionState;

    // Every idle connection has one.
    #[test]
    fn a_state_is_small() {
        let size = size_of::<ConnectionState>() - size_of::<Option<channel_layer::Mailbox>>();
        assert!(size <= 280, "{size} bytes");
    }
}
