//! The transport's end of a connection.
//!
//! A transport knows bytes, frames and HTTP; the application behind a [`Socket`](crate::Socket) knows none of
//! them. Between the two are plain values: what comes in is [`fed`](Wire::feed), what goes out is
//! [`taken`](Wire::take_outputs). The application runs inside [`Wire::poll`], in the transport's own task: one
//! task per connection, no hand-over between two, and while a hook waits the transport still answers pings.
//!
//! A WebSocket, a long poll and a test are all just holders of a `Wire`.

mod control;
mod hooks;
mod leaving;
mod link;
mod output;
mod profile;
mod report;
mod seldom;
mod shared;
mod state;

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use channel_layer::Message;
use http::{HeaderMap, HeaderValue, StatusCode, header};

pub(crate) use self::{
    control::{CLOSE, Control, WHO, Who},
    hooks::{AnswerHook, Finishing, Verdict},
    link::Link,
    profile::Profile,
    seldom::Seldom,
    state::Phase,
};
pub use self::{
    output::OutputLimits,
    state::{Input, Resumed},
};
use crate::{
    error::{Error, Result},
    frame::{Close, Frame},
};

/// Seconds after which a client may come back that was refused in an outage of the channel layer. A layer tries to reach
/// its backend again at least as often.
const RETRY_AFTER: &str = "1";

/// How an application runs: a boxed future, one per connection.
pub type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What a transport tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// The connection has ended. Nothing comes after it.
    Disconnect(Close),
    /// The client sent a frame.
    Frame(Frame),
    /// A part of an HTTP request's body; `more` is false with the last one.
    #[allow(missing_docs)]
    HttpBody { chunk: Bytes, more: bool },
}

/// What the application tells the transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outgoing {
    /// The client may come in. Always before any frame.
    Accept(Accept),
    /// A part of a response's body; `more` is false with the last one.
    #[allow(missing_docs)]
    Body { chunk: Bytes, more: bool },
    /// End the connection, after what was sent before.
    Close(Close),
    /// A frame that many receive: the transport makes its bytes once and keeps them with the message.
    Encoded(Message),
    /// A frame for this client.
    Frame(Frame),
    /// Broadcasts for this client found its mailbox full. Only for connections that ask for such reports.
    Gap,
    /// A response begins. Always before any part of its body.
    Head(Head),
    /// The client may not come in. Nothing comes after it.
    Refuse(Refuse),
    /// A frame of the application's, made once of an event for several connections. Only for connections that keep
    /// frames.
    Shared(Message),
}

/// With what a socket is accepted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Accept {
    /// One of the subprotocols that the client offers.
    pub subprotocol: Option<String>,
    /// Further headers of the answer.
    pub headers: HeaderMap,
}

/// With what a socket is refused: an HTTP response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refuse {
    /// Its status. 403 by default.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// How a response begins.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Head {
    /// Its status. 200 by default.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

impl From<StatusCode> for Head {
    fn from(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new() }
    }
}

impl From<StatusCode> for Refuse {
    fn from(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

impl Refuse {
    /// A temporary refusal: 503, with the time after which to retry.
    pub(crate) fn unavailable() -> Self {
        let mut refuse = Self::from(StatusCode::SERVICE_UNAVAILABLE);
        refuse.headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        refuse
    }
}

impl From<&Error> for Refuse {
    fn from(error: &Error) -> Self {
        if error.is_layer_outage() { Self::unavailable() } else { error.status().into() }
    }
}

impl Default for Refuse {
    fn default() -> Self {
        StatusCode::FORBIDDEN.into()
    }
}

/// The transport's end, with the application inside.
pub struct Wire {
    link: Arc<Link>,
    /// Gone once it has ended, so that its memory is.
    application: Option<Running>,
    /// With what it ended, for those who ask. Boxed: nearly nobody does.
    failure: Option<Box<Error>>,
}

impl Wire {
    pub(crate) fn new(link: Arc<Link>, application: Running) -> Self {
        Self { link, application: Some(application), failure: None }
    }

    /// Hands something to the application. The next [`poll`](Self::poll) lets it run.
    pub fn feed(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Frame(frame) => self.link.push(Input::Frame(frame)),
            Incoming::HttpBody { chunk, more } => self.link.push(Input::Body { chunk, more }),
            Incoming::Disconnect(close) => self.link.disconnect(close),
        }
    }

    /// Does the application keep up? While it does not, the transport leaves the rest with the client.
    pub fn wants_input(&self) -> bool {
        self.link.wants_input()
    }

    /// Lets the application run until it waits. Ready once it has ended; what it left is in the outputs.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mail = self.link.begin_poll(cx);
            let ended = self.poll_application(cx);
            let (again, finishing) = self.link.end_poll();
            if let Some(finishing) = finishing
                && self.poll_finish(finishing, cx).is_pending()
                && ended
            {
                return Poll::Pending;
            }
            if ended {
                return Poll::Ready(());
            }
            if mail == Mail::Corked {
                // Deferred until the runtime has looked at all its sockets: other senders' messages come in
                // first, and leave in the same write.
                return pin!(tokio::task::yield_now()).poll(cx);
            }
            if !again {
                return Poll::Pending;
            }
        }
    }

    /// Shows what waits to be sent to `take`, which removes what it sends. True if senders that waited for room
    /// have some now: poll again.
    pub fn take_outputs(&mut self, take: impl FnMut(&mut VecDeque<Outgoing>)) -> bool {
        self.link.take_outputs(take)
    }

    /// Does anything wait to be sent?
    pub(crate) fn has_outputs(&self) -> bool {
        self.link.has_outputs()
    }

    /// Is the connection to end once the application has handled what has come?
    pub(crate) fn is_seen_out(&self) -> bool {
        self.link.is_seen_out()
    }

    /// The answer to the client is on its way: the application may go on.
    pub fn accepted(&mut self) {
        self.link.accepted();
    }

    /// True once the application has ended.
    pub fn has_ended(&self) -> bool {
        self.application.is_none()
    }

    /// How the connection ended, if it has.
    pub fn close(&self) -> Option<Close> {
        self.link.close()
    }

    /// The error that the application failed with, once.
    pub fn take_error(&mut self) -> Option<Error> {
        self.failure.take().map(|error| *error)
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Ready once the answer may leave. Guards run here, outside of the connection's lock.
    fn poll_finish(&self, mut finishing: Finishing, cx: &mut Context<'_>) -> Poll<()> {
        let finished = finishing.as_mut().poll(cx);
        match finished {
            Poll::Pending => self.link.hold_on(finishing),
            Poll::Ready(()) => self.link.release(),
        }
        finished
    }

    /// True if the application has ended.
    fn poll_application(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(application) = &mut self.application else { return true };
        let polled = catch_unwind(AssertUnwindSafe(|| application.as_mut().poll(cx)));
        let outcome = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(panic) => Err(Error::from_panic(&*panic)),
        };
        self.drop_application();
        self.link.conclude(&outcome);
        if let Err(error) = &outcome
            && !self.link.was_reported(error)
            && self.link.profile().reports_failures
        {
            self.link.report(None, "application", error);
        }
        // That the client has left is no failure of the application's.
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
        self.link.disconnect(Close::ABNORMAL.into());
        self.drop_application();
    }
}

/// What [`Link::begin_poll`] found in the mailbox.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mail {
    /// Something, left there for the moment.
    Corked,
    /// Nothing, or it was taken out.
    Taken,
}
