//! The values that cross a wire.

use std::ops::RangeInclusive;

use bytes::Bytes;
use channel_layer::{LayerEvent, Message};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{
    error::{Error, Fault},
    frame::{Close, Frame},
    scope::Transport,
};

/// Seconds after which a client may come back that was refused in an outage of the channel layer. A layer tries to reach
/// its backend again at least as often.
const RETRY_AFTER: &str = "1";

/// Bytes of an error's text in a response. A text may repeat the input, which may be long.
const MAX_TEXT: usize = 1024;

/// A value from the transport to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// The connection has ended. It is the last value.
    Disconnect(Close),
    /// The client sent a frame.
    Frame(Frame),
    /// A part of an HTTP request's body; `more` is false with the last one.
    #[allow(missing_docs)]
    HttpBody { chunk: Bytes, more: bool },
}

/// A value from the application to the transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outgoing {
    /// The client is admitted. Always before any frame.
    Accept(Accept),
    /// A part of a response's body; `more` is false with the last one.
    #[allow(missing_docs)]
    Body { chunk: Bytes, more: bool },
    /// The connection ends, after everything sent before.
    Close(Close),
    /// A broadcast frame: the transport encodes it once and keeps the bytes with the message.
    Encoded(Message),
    /// A frame for this client.
    Frame(Frame),
    /// Broadcasts for this client found its mailbox full. Only for connections that ask for such reports.
    Gap,
    /// A response begins. Always before any part of its body.
    Head(Head),
    /// The client is refused. It is the last value.
    Refuse(Refuse),
    /// A frame for this client, made once of an event for several connections. Like [`Encoded`](Self::Encoded), but never
    /// dropped: its sender knows that it waits.
    Shared(Message),
}

/// The acceptance of a WebSocket.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Accept {
    /// The subprotocol, from those that the client offers.
    pub subprotocol: Option<String>,
    /// Further headers of the answer.
    pub headers: HeaderMap,
}

/// The refusal of a client: an HTTP response.
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

/// The beginning of a response.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Head {
    /// Its status. 200 by default.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

/// A value that an application receives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A part of an HTTP request's body; `more` is false with the last one.
    #[allow(missing_docs)]
    Body { chunk: Bytes, more: bool },
    /// A message from the channel layer.
    Event(Message),
    /// A frame from the client.
    Frame(Frame),
    /// The channel layer lost its backend, or has it back: after a gap, messages may have been missed.
    Layer(LayerEvent),
    /// The client has come back, over a new connection, and goes on.
    Resumed(Resumed),
}

/// The return of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The transport from now on.
    pub transport: Transport,
    /// The numbers of the frames that it missed for good, if there are any: they were too many to be kept.
    pub gap: Option<RangeInclusive<u64>>,
}

impl Input {
    /// Whether it does not come from the client.
    pub(super) fn is_event(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Layer(_) | Self::Resumed(_))
    }
}

/// Accepts with this subprotocol.
impl From<&str> for Accept {
    fn from(subprotocol: &str) -> Self {
        Self { subprotocol: Some(subprotocol.to_owned()), ..Self::default() }
    }
}

impl From<StatusCode> for Head {
    fn from(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new() }
    }
}

impl Head {
    /// The head of an event stream.
    pub(crate) fn event_stream() -> Self {
        let headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            // Asks proxies not to buffer the response.
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ]);
        Self { headers, ..Self::default() }
    }
}

impl From<StatusCode> for Refuse {
    fn from(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// A status with a text for the client.
impl<B: Into<Bytes>> From<(StatusCode, B)> for Refuse {
    fn from((status, body): (StatusCode, B)) -> Self {
        let headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            // The text may have parts of the input, which no browser may take for a page.
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ]);
        Self { status, headers, body: body.into() }
    }
}

impl Refuse {
    /// A temporary refusal: 503, with the time after which to retry.
    pub(crate) fn unavailable() -> Self {
        let mut refuse = Self::from(StatusCode::SERVICE_UNAVAILABLE);
        refuse.headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        refuse
    }

    /// A refusal whose body tells the client what is wrong with its input.
    fn with_text(error: &Error) -> Self {
        let mut text = error.to_string();
        let end = text.char_indices().map(|(at, _)| at).take_while(|&at| at <= MAX_TEXT).last();
        if text.len() > MAX_TEXT {
            text.truncate(end.unwrap_or_default());
        }
        (error.status(), text).into()
    }
}

impl From<&Error> for Refuse {
    fn from(error: &Error) -> Self {
        match error.fault() {
            Fault::Layer | Fault::Overload => Self::unavailable(),
            Fault::Client => Self::with_text(error),
            Fault::None | Fault::Server => error.status().into(),
        }
    }
}

impl Default for Refuse {
    fn default() -> Self {
        StatusCode::FORBIDDEN.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_refusals_are_plain() {
        let bad_input = Error::bad_input("<b>no</b>");
        for (refuse, status) in
            [(Refuse::from((StatusCode::NOT_FOUND, "<b>no</b>")), 404), (Refuse::from(&bad_input), 400)]
        {
            assert_eq!((refuse.status.as_u16(), &refuse.body[..]), (status, &b"<b>no</b>"[..]));
            assert_eq!(refuse.headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
            assert_eq!(refuse.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }
}
