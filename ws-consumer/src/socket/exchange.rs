//! A plain HTTP request and its response, as their application sees them.

use std::{
    fmt,
    future::poll_fn,
    ops::{Deref, DerefMut},
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::context::Context;
use crate::{
    error::{Error, Result},
    wire::{Head, Input, Refuse},
};

/// A plain HTTP request and its response: a [`Context`] that reads a body and sends a response.
///
/// Parts of the request's body also come as [`Input::Body`]. Events of the channel layer arrive until the response is
/// complete. A WebSocket is a [`Socket`](crate::Socket), and has other functions:
///
/// ```compile_fail
/// # use ws_consumer::{Exchange, Result};
/// async fn answer(mut exchange: Exchange) -> Result<()> {
///     exchange.send("a frame").await
/// }
/// ```
pub struct Exchange {
    context: Context,
}

impl Exchange {
    /// Makes an exchange of a connection.
    ///
    /// For a WebSocket too, which it can only refuse: there is no body, and a whole response refuses the client.
    pub fn from_context(context: Context) -> Self {
        Self { context }
    }

    /// Returns the connection, for another application.
    pub fn into_context(self) -> Context {
        self.context
    }

    /// The whole body of the request. Once.
    ///
    /// # Errors
    /// [`Refused`](Error::Refused) with 413 for more than `limit` bytes, [`Closed`](Error::Closed) when the client
    /// leaves before its end.
    pub async fn body(&mut self, limit: usize) -> Result<Bytes> {
        let body = self.whole_body(limit).await?;
        self.last_text.set_body(&body);
        Ok(body)
    }

    async fn whole_body(&mut self, limit: usize) -> Result<Bytes> {
        let Some((first, mut more)) = self.next_body().await? else { return Ok(Bytes::new()) };
        if !more && first.len() <= limit {
            return Ok(first);
        }
        let mut body = BytesMut::from(first);
        while body.len() <= limit {
            if !more {
                return Ok(body.freeze());
            }
            let Some((chunk, further)) = self.next_body().await? else { return Ok(body.freeze()) };
            body.extend_from_slice(&chunk);
            more = further;
        }
        Err(Error::Refused(StatusCode::PAYLOAD_TOO_LARGE))
    }

    /// The next part of the request's body, and whether more follows; events that come meanwhile wait their turn.
    /// `None` on a WebSocket.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) when the client leaves.
    pub async fn next_body(&mut self) -> Result<Option<(Bytes, bool)>> {
        if self.is_websocket() {
            return Ok(None);
        }
        let chunk = |input: &Input| match input {
            Input::Body { chunk, more } => Some((chunk.clone(), *more)),
            _ => None,
        };
        poll_fn(|cx| self.connection.poll_seek(cx, &mut 0, chunk)).await.map(Some)
    }

    /// Begins the response with a status and headers; a status alone will do. Parts of the body follow.
    ///
    /// # Errors
    /// A response that has begun already, a client that has left, and a WebSocket.
    pub async fn send_headers(&mut self, head: impl Into<Head>) -> Result<()> {
        self.connection.respond(head.into())
    }

    /// Sends a part of the response's body. The part that no `more` follows ends it, and the connection.
    ///
    /// Waits while a slow client has a mebibyte to take.
    ///
    /// # Errors
    /// [`NotAccepted`](Error::NotAccepted) before the headers, [`Closed`](Error::Closed) after the end.
    pub async fn send_body(&mut self, chunk: impl Into<Bytes>, more: bool) -> Result<()> {
        let chunk = chunk.into();
        poll_fn(|cx| self.connection.poll_body(cx, &chunk, more)).await
    }

    /// Sends a whole response.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if a response has begun already, or the client has left.
    pub async fn send_response(&mut self, status: StatusCode, body: impl Into<Bytes>) -> Result<()> {
        self.refuse(Refuse { body: body.into(), ..status.into() }).await
    }
}

impl Deref for Exchange {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl DerefMut for Exchange {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exchange").field(&self.context).finish()
    }
}
