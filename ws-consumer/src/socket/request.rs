//! Answering a plain HTTP request.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::Socket;
use crate::{
    error::{Error, Result},
    scope::Protocol,
    wire::{Head, Input, Refuse},
};

/// For requests of plain HTTP, where [`scope().protocol`](crate::Scope::protocol) says so.
///
/// Such a connection is one request and one response; the request's body comes as [`Input::Body`], the response leaves
/// by the functions here, and events of the channel layer arrive until it is complete.
impl Socket {
    /// Is it a WebSocket, not a plain request?
    pub fn is_websocket(&self) -> bool {
        self.scope.protocol == Protocol::WebSocket
    }

    /// The whole body of the request. Once.
    ///
    /// # Errors
    /// [`Refused`](Error::Refused) with 413 for more than `limit` bytes, [`Closed`](Error::Closed) when the client
    /// leaves before its end.
    pub async fn body(&mut self, limit: usize) -> Result<Bytes> {
        let body = self.whole_body(limit).await?;
        self.hear_body(&body);
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
    /// When it has begun already, when the client has left, and on a WebSocket.
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
    /// As [`send_headers`](Self::send_headers).
    pub async fn send_response(&mut self, status: StatusCode, body: impl Into<Bytes>) -> Result<()> {
        self.refuse(Refuse { body: body.into(), ..status.into() }).await
    }
}
