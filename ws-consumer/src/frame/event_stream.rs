//! Server-sent events: the text format of event streams.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::error::{Error, MisuseError, Result};

/// The comment that shows proxies and clients that an idle stream is alive.
pub(crate) const HEARTBEAT: &str = ":\n\n";

/// The settings of an event stream that an application [begins by itself](crate::Exchange::event_stream).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStreamOptions {
    /// The time between two comments that keep the stream alive; 15 s by default, at least a millisecond.
    pub heartbeat: Duration,
    /// The time after which a client that lost its stream comes back; by default the client's own.
    pub retry: Option<Duration>,
}

impl EventStreamOptions {
    /// Sets the time between two comments.
    pub fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets the time after which a client that lost its stream comes back.
    pub fn with_retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }
}

impl Default for EventStreamOptions {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(15), retry: None }
    }
}

/// An event of an event stream. A text alone is one.
///
/// ```
/// # use ws_consumer::{Exchange, Result, ServerSentEvent};
/// # async fn hook(exchange: &mut Exchange) -> Result<()> {
/// exchange.send_event("a text").await?;
/// exchange.send_event(ServerSentEvent::json(&[1, 2])?.with_name("prices").with_id("7")).await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSentEvent {
    /// The event's data. Each line end (`\n`, `\r\n`, `\r`) reaches the client as `\n`.
    pub data: String,
    /// The name under which the client listens: `message` by default.
    pub name: Option<String>,
    /// The id that the client shows as `Last-Event-ID` when it comes back.
    pub id: Option<String>,
}

impl ServerSentEvent {
    /// Creates an event with this data.
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// Creates an event with `value` as JSON.
    ///
    /// # Errors
    /// [`Misuse`](Error::Misuse) for a value that is no JSON.
    #[track_caller]
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        match serde_json::to_string(value) {
            Ok(text) => Ok(Self::new(text)),
            Err(fault) => {
                let fault = channel_layer::Error::InvalidMessage(fault.into());
                Err(Error::Misuse(MisuseError::new("json", fault)))
            }
        }
    }

    /// Sets the name under which the client listens.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the id that the client shows when it comes back.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The event's bytes on the stream.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.data.len() + 64);
        for (field, text) in [("event", &self.name), ("id", &self.id)] {
            let Some(text) = text else { continue };
            // A line end would begin another field, and clients ignore an id with a null.
            if text.contains(['\n', '\r', '\0']) {
                return Err(Error::other(format!("the `{field}` of an event has a line end or a null")));
            }
            put_field(&mut out, field, text);
        }
        put_field(&mut out, "data", &self.data);
        out.push(b'\n');
        Ok(out)
    }
}

impl From<&str> for ServerSentEvent {
    fn from(data: &str) -> Self {
        Self::new(data)
    }
}

impl From<String> for ServerSentEvent {
    fn from(data: String) -> Self {
        Self::new(data)
    }
}

/// The first bytes of a stream: they show the client that it is open, and set its pause.
pub(crate) fn opening(options: &EventStreamOptions) -> String {
    let mut opening = String::new();
    if let Some(retry) = options.retry {
        _ = writeln!(opening, "retry: {}", retry.as_millis());
    }
    opening + HEARTBEAT
}

/// Appends a field: a line for each line of the text.
pub(crate) fn put_field(out: &mut Vec<u8>, name: &str, text: &str) {
    let mut rest = Some(text);
    while let Some(text) = rest {
        let end = text.find(['\n', '\r']);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(&text.as_bytes()[..end.unwrap_or(text.len())]);
        out.push(b'\n');
        rest = end.map(|end| text[end..].strip_prefix("\r\n").unwrap_or(&text[end + 1..]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(event: impl Into<ServerSentEvent>) -> String {
        String::from_utf8(event.into().encode().unwrap()).unwrap()
    }

    #[test]
    fn data_is_split_at_line_ends() {
        for (data, lines) in [
            ("", "data: \n\n"),
            ("a", "data: a\n\n"),
            (" a\n", "data:  a\ndata: \n\n"),
            ("a\nb", "data: a\ndata: b\n\n"),
            ("a\r\nb", "data: a\ndata: b\n\n"),
            ("a\rb", "data: a\ndata: b\n\n"),
            ("a\n\rb", "data: a\ndata: \ndata: b\n\n"),
            ("é\r", "data: é\ndata: \n\n"),
        ] {
            assert_eq!(encoded(data), lines, "{data:?}");
        }
    }

    #[test]
    fn names_and_ids_are_one_line() {
        let event = ServerSentEvent::json(&[1]).unwrap().with_name("n").with_id("7");
        assert_eq!(encoded(event), "event: n\nid: 7\ndata: [1]\n\n");
        for text in ["a\nb", "a\rb", "a\0"] {
            assert!(ServerSentEvent::new("").with_name(text).encode().is_err(), "{text:?}");
            assert!(ServerSentEvent::new("").with_id(text).encode().is_err(), "{text:?}");
        }
    }
}
