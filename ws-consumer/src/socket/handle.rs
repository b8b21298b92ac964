//! A socket's sending half, for other tasks.

use std::{fmt, future::poll_fn, sync::Arc};

use serde::Serialize;

use crate::{
    error::Result,
    frame::{Close, Frame},
    wire::Connection,
};

/// Sends to a connection from any task. Clones are the same handle; a handle keeps no connection open.
///
/// ```
/// # use ws_consumer::{Result, Socket};
/// async fn ticks(mut socket: Socket) -> Result<()> {
///     socket.accept().await?;
///     let handle = socket.handle();
///     tokio::spawn(async move { handle.send("tick").await });
///     while socket.next().await?.is_some() {}
///     Ok(())
/// }
/// # fn check(_: impl ws_consumer::Application) {}
/// # check(ticks);
/// ```
#[derive(Clone)]
pub struct Handle(Arc<Connection>);

impl Handle {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self(connection)
    }

    /// Sends a frame; waits while a slow client has a mebibyte to take. Cancel safe.
    ///
    /// # Errors
    /// Those of [`Socket::send`](crate::Socket::send): [`NotAccepted`](crate::Error::NotAccepted) before the client was admitted,
    /// [`Closed`](crate::Error::Closed) after the end, and for a plain HTTP request, whose answer is a
    /// response.
    pub async fn send(&self, frame: impl Into<Frame>) -> Result<()> {
        let mut frame = Some(frame.into());
        poll_fn(|cx| self.0.poll_send_from_task(cx, &mut frame)).await
    }

    /// Sends `value` as JSON in a text frame.
    ///
    /// # Errors
    /// Those of [`send`](Self::send); [`Misuse`](crate::Error::Misuse) for a value that is no JSON.
    #[track_caller]
    pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> impl Future<Output = Result<()>> + Send {
        let frame = Frame::from_json(value);
        async { self.send(frame?).await }
    }

    /// Ends the connection, after everything sent before.
    pub fn close(&self, close: impl Into<Close>) {
        let _ended_before = self.0.close(close.into());
    }

    /// Returns how the connection ended, if it has.
    pub fn closed(&self) -> Option<Close> {
        self.0.closed()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("phase", &self.0.phase()).finish()
    }
}
