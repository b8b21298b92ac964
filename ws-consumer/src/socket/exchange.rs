//! A plain HTTP request and its response, as their application sees them.

use std::{
    fmt,
    future::poll_fn,
    ops::{Deref, DerefMut},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::{
    context::Context,
    response::{HttpResponse, IntoHttpResponse},
};
use crate::{
    error::{Error, Result},
    frame::{EventStreamOptions, ServerSentEvent, opening, read},
    scope::parse_form,
    wire::{Head, Input, Refuse},
};

/// The shortest time between two comments of an event stream.
const MIN_HEARTBEAT: Duration = Duration::from_millis(1);

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
    /// Sends the comments of an event stream.
    heartbeat: Option<AbortOnDropHandle<()>>,
}

impl Exchange {
    /// Makes an exchange of a connection.
    ///
    /// For a WebSocket too, which it can only refuse: there is no body, and a whole response refuses the client.
    pub fn from_context(context: Context) -> Self {
        Self { context, heartbeat: None }
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

    /// Reads the whole body of the request as JSON. Once.
    ///
    /// # Errors
    /// [`Refused`](Error::Refused) with 415 unless the request's content type is JSON, [`BadInput`](Error::BadInput) for
    /// a body that does not fit, and the errors of [`body`](Self::body).
    pub async fn json<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T> {
        self.require_type(is_json)?;
        let body = self.body(limit).await?;
        self.decode_json(&body)
    }

    /// Reads the whole body of the request as a form, `application/x-www-form-urlencoded`. Once. A name that occurs
    /// several times fills a `Vec`.
    ///
    /// # Errors
    /// [`Refused`](Error::Refused) with 415 unless the request's content type is that of forms,
    /// [`BadInput`](Error::BadInput) with a [`QueryError`](crate::QueryError) for a body that does not fit, and the errors
    /// of [`body`](Self::body).
    pub async fn form<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T> {
        self.require_type(is_form)?;
        let body = self.body(limit).await?;
        self.decode_form(&body)
    }

    /// Reads a body as [`json`](Self::json) does, for [`HttpConsumer::handle`](crate::HttpConsumer::handle), which has it.
    ///
    /// # Errors
    /// Those of [`json`](Self::json).
    pub fn decode_json<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        self.require_type(is_json)?;
        let text = std::str::from_utf8(body).map_err(Error::bad_input)?;
        read(text).map_err(Error::bad_input)
    }

    /// Reads a body as [`form`](Self::form) does, for [`HttpConsumer::handle`](crate::HttpConsumer::handle), which has it.
    ///
    /// # Errors
    /// Those of [`form`](Self::form).
    pub fn decode_form<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        self.require_type(is_form)?;
        parse_form("form", body)
    }

    /// A page of another origin sends other types without asking, such as JSON as plain text.
    fn require_type(&self, fits: fn(&str) -> bool) -> Result<()> {
        let kind = self.scope.header(header::CONTENT_TYPE).and_then(|kind| kind.split(';').next());
        let kind = kind.map(|kind| kind.trim().to_ascii_lowercase());
        let is_fit = kind.is_some_and(|kind| fits(&kind));
        is_fit.then_some(()).ok_or(Error::Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE))
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

    /// Sends a whole response: a status, a text, JSON, or one of these with a status and headers. The values are those of
    /// [`IntoHttpResponse`].
    ///
    /// ```
    /// # use http::StatusCode;
    /// # use ws_consumer::{Exchange, HttpResponse, Result};
    /// # async fn answers(exchange: &mut Exchange) -> Result<()> {
    /// exchange.respond("a text").await?;
    /// exchange.respond((StatusCode::NOT_FOUND, "no such room")).await?;
    /// exchange.respond((StatusCode::CREATED, [("location", "/rooms/7")], HttpResponse::json(&[7]))).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`send_response`](Self::send_response), and those of the value.
    pub async fn respond(&mut self, response: impl IntoHttpResponse) -> Result<()> {
        let response = response.into_http_response()?;
        self.refuse(response).await
    }

    /// Sends a whole response of `value` as JSON, with 200.
    ///
    /// # Errors
    /// Those of [`respond`](Self::respond); [`Misuse`](Error::Misuse) for a value that is no JSON.
    #[track_caller]
    pub fn respond_json<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send {
        let response = HttpResponse::json(value);
        async { self.respond(response).await }
    }

    /// Sends a whole response of HTML, with 200. The text is sent as it is: escape what clients have sent.
    ///
    /// # Errors
    /// Those of [`respond`](Self::respond).
    pub async fn respond_html(&mut self, text: impl Into<String>) -> Result<()> {
        self.respond(HttpResponse::html(text)).await
    }

    /// Begins an event stream, for [`send_event`](Self::send_event): with the headers that keep proxies from buffering
    /// it, and with comments that keep it alive, also while a hook runs.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use ws_consumer::{EventStreamOptions, Exchange, HttpConsumer, Result};
    /// struct Prices;
    ///
    /// impl HttpConsumer for Prices {
    ///     type Event = serde_json::Value;
    ///     const GROUPS: &'static [&'static str] = &["prices"];
    ///
    ///     async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
    ///         exchange.event_stream(EventStreamOptions::default()).await
    ///     }
    ///     async fn event(&mut self, exchange: &mut Exchange, event: &Self::Event) -> Result<()> {
    ///         exchange.send_event(event.to_string()).await
    ///     }
    /// }
    /// ```
    ///
    /// A client that comes back shows [the id of its last event](crate::Scope::last_event_id). Messages that it missed
    /// meanwhile are the application's to keep; [resumable sessions](crate::Protocols::resume) keep them by themselves. A page's
    /// `EventSource` comes back after a broken stream, but not after an answer other than 200, such as a proxy's 502.
    ///
    /// A drain waits for event streams as for every request, for 10 s by default: see
    /// [`Drain::requests_within`](crate::Drain::requests_within).
    ///
    /// # Errors
    /// Those of [`send_headers`](Self::send_headers).
    pub async fn event_stream(&mut self, options: EventStreamOptions) -> Result<()> {
        self.send_headers(Head::event_stream()).await?;
        self.send_body(opening(&options), true).await?;
        let (connection, pause) = (self.connection().clone(), options.heartbeat.max(MIN_HEARTBEAT));
        // In a task, for which no hook has to return. It ends with the exchange.
        self.heartbeat = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                sleep(pause).await;
                if !connection.send_heartbeat() {
                    return;
                }
            }
        })));
        Ok(())
    }

    /// Sends an event of a stream that [`event_stream`](Self::event_stream) began; a text alone will do.
    ///
    /// # Errors
    /// Those of [`send_body`](Self::send_body), and an event whose name or id has a line end.
    pub async fn send_event(&mut self, event: impl Into<ServerSentEvent>) -> Result<()> {
        let bytes = event.into().encode()?;
        self.send_body(bytes, true).await
    }

    /// Sends a whole response.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) if a response has begun already, or the client has left.
    pub async fn send_response(&mut self, status: StatusCode, body: impl Into<Bytes>) -> Result<()> {
        self.refuse(Refuse { body: body.into(), ..status.into() }).await
    }
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn is_form(kind: &str) -> bool {
    kind == "application/x-www-form-urlencoded"
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
