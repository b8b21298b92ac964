//! A WebSocket, as its application sees it.

use std::{
    fmt,
    future::poll_fn,
    ops::{Deref, DerefMut},
};

use bytes::Bytes;
use channel_layer::Message;
use serde::Serialize;

use super::context::Context;
use crate::{
    error::{Error, Result},
    frame::Frame,
    scope::UserId,
    wire::{Accept, Phase},
};

/// A WebSocket, as consumers and other applications see it: a [`Context`] that sends and receives frames.
///
/// Output leaves when the application waits, in one write with everything sent before: fifty sends in a row cost one.
/// When the client is slow and a mebibyte waits, [`send`](Self::send) waits too.
///
/// Every function here is cancel safe: a dropped future has done all of its work or none. A plain request is an
/// [`Exchange`](crate::Exchange), and has other functions:
///
/// ```compile_fail
/// # use ws_consumer::{Result, Socket};
/// async fn answer(mut socket: Socket) -> Result<()> {
///     socket.send_response(http::StatusCode::OK, "hello").await
/// }
/// ```
pub struct Socket {
    context: Context,
}

impl Socket {
    /// Makes a socket of a connection.
    ///
    /// For a plain request too, which it can only [`refuse`](Context::refuse): frames are sent to WebSockets alone.
    pub fn from_context(context: Context) -> Self {
        Self { context }
    }

    /// Returns the connection, for another application.
    pub fn into_context(self) -> Context {
        self.context
    }

    /// Admits the client. Returns once the answer is on its way. A second call has no effect.
    ///
    /// A connection whose user guards have found out is [identified](Context::identify) before.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if the client has given up, or was refused; the layer's errors;
    /// [`Refused`](Error::Refused) with 400 for a plain request, which is answered by a response.
    pub async fn accept(&mut self) -> Result<()> {
        self.accept_with(Accept::default()).await
    }

    /// Admits the client like [`accept`](Self::accept), with a subprotocol or headers: `accept_with("graphql-ws")`.
    ///
    /// # Errors
    /// Also a subprotocol that the client does not offer.
    pub fn accept_with(&mut self, accept: impl Into<Accept>) -> impl Future<Output = Result<()>> + Send {
        self.admit(accept.into())
    }

    async fn admit(&mut self, accept: Accept) -> Result<()> {
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

    /// Sends a frame.
    ///
    /// # Errors
    /// [`NotAccepted`](Error::NotAccepted) before the client was admitted, [`Closed`](Error::Closed) after the end.
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
    /// Those of [`send`](Self::send).
    pub fn send_text(&mut self, text: impl Into<String>) -> impl Future<Output = Result<()>> + Send {
        self.send_frame(Frame::Text(text.into()))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn send_bytes(&mut self, bytes: impl Into<Bytes>) -> impl Future<Output = Result<()>> + Send {
        self.send_frame(Frame::Binary(bytes.into()))
    }

    /// Sends a message of type [`websocket.send`](channel_layer::WEBSOCKET_SEND) as a frame, whose bytes all
    /// sockets share that send it.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn send_encoded(&mut self, message: Message) -> Result<()> {
        self.connection.send_encoded(message)
    }

    /// Sends a frame that other connections send as well, as [`send`](Self::send) does: it is never dropped.
    pub(crate) async fn send_shared(&mut self, message: Message) -> Result<()> {
        poll_fn(|cx| self.connection.poll_send_shared(cx, &message)).await
    }

    /// Sends like [`send_encoded`](Self::send_encoded), and waits while a slow client's output is full.
    pub(crate) async fn send_encoded_patiently(&mut self, message: Message) -> Result<()> {
        poll_fn(|cx| self.connection.poll_drained(cx, usize::MAX)).await;
        self.connection.send_encoded(message)
    }

    /// Tells the client of an error as a consumer's [`error`](crate::Consumer::error) hook does by default:
    /// with [`Error::answer`]. A custom hook calls this for errors that it does not handle.
    ///
    /// # Errors
    /// The error itself, where the client is not to read it; those of [`send`](Self::send).
    pub async fn answer_error(&mut self, error: Error) -> Result<()> {
        match error.answer() {
            Some(answer) => self.send_json(&answer).await,
            None => Err(error),
        }
    }
}

impl Deref for Socket {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl DerefMut for Socket {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.context).finish()
    }
}
