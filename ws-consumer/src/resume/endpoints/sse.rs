//! Event streams.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::super::{
    attachment::CarrierOutput,
    carrier::{Carrier, CarrierRegistration},
    ndjson,
    protocol::{ControlObject, Gap},
    service::{SessionService, StartedCarrier},
    token::SessionToken,
};
use crate::{
    frame::{self, Close},
    scope::{Scope, Stalled},
    transport::{ReplyBody, reply::HttpReply},
    wire::{Head, Refuse},
};

/// Answers a request for an event stream.
pub(super) async fn stream(service: &SessionService, scope: Scope, stalled: Stalled) -> HttpReply {
    match try_stream(service, scope, stalled).await {
        Ok(reply) => reply,
        Err(refuse) => refuse.into(),
    }
}

async fn try_stream(service: &SessionService, scope: Scope, stalled: Stalled) -> Result<HttpReply, Refuse> {
    let last_id = scope.header("last-event-id").and_then(SessionToken::parse_with_cursor);
    let interval = service.settings_at(&scope).limits.ping_interval;
    let asked_to_resume = scope.headers.contains_key("last-event-id");
    let started = match last_id {
        Some((token, cursor)) => service.resume(scope, token, cursor).await?,
        None => service.begin(scope, asked_to_resume.then_some(0)).await?,
    };
    let registration = match started.carrier.is_remote() {
        true => Some(service.register_carrier().ok_or_else(Refuse::unavailable)?),
        false => None,
    };
    let headers = started.headers.clone();
    let body = EventBody::new(started, registration, stalled, interval);
    let mut response = Response::new(ReplyBody::boxed(body));
    *response.headers_mut() = headers;
    response.headers_mut().extend(Head::event_stream().headers);
    Ok(response)
}

struct EventBody {
    /// `None` once the stream is over.
    carrier: Option<Carrier>,
    /// Of a remote carrier. A local one ends with its session.
    registration: Option<CarrierRegistration>,
    stalled: Stalled,
    token: String,
    /// The number of the last frame that was sent.
    cursor: u64,
    first: Option<Bytes>,
    /// Whether the session began with this stream.
    is_new: bool,
    interval: Duration,
    heartbeat: Pin<Box<Sleep>>,
}

impl EventBody {
    fn new(
        started: StartedCarrier,
        registration: Option<CarrierRegistration>,
        stalled: Stalled,
        interval: Duration,
    ) -> Self {
        let StartedCarrier { carrier, control, token, .. } = started;
        let open = control.open.as_ref();
        let (cursor, is_new) = open.map_or((0, false), |open| (open.cursor, !open.resumed));
        let mut body = Self {
            carrier: Some(carrier),
            registration,
            stalled,
            token: token.text(),
            cursor,
            first: None,
            is_new,
            interval,
            heartbeat: Box::pin(sleep(interval)),
        };
        body.first = Some(body.control(&control));
        body
    }

    fn control(&self, control: &ControlObject) -> Bytes {
        let mut out = Vec::new();
        ndjson::put_control(&mut out, control);
        self.put_id(&mut out, self.cursor);
        out.into()
    }

    fn put_id(&self, out: &mut Vec<u8>, number: u64) {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(self.token.as_bytes());
        out.extend_from_slice(format!(".{number}\n\n").as_bytes());
    }

    fn chunk(&mut self, output: CarrierOutput) -> Option<Bytes> {
        match output {
            CarrierOutput::Frames(first, frames) => {
                let mut out = Vec::with_capacity(frames.iter().map(|frame| frame.len() + 96).sum());
                if first > self.cursor + 1 {
                    let gap = Gap { from: self.cursor + 1, to: Some(first - 1) };
                    self.cursor = first - 1;
                    out.extend(self.control(&ControlObject { gap: Some(gap), ..ControlObject::default() }));
                }
                for (number, frame) in (first..).zip(&frames) {
                    ndjson::put_event(&mut out, frame);
                    self.put_id(&mut out, number);
                    self.cursor = number;
                }
                Some(out.into())
            }
            CarrierOutput::Closed(close) => {
                tracing::debug!(close.code, close.reason, "an event stream ends with its session");
                self.carrier = None;
                Some(self.control(&ControlObject::close(close)))
            }
            CarrierOutput::Replaced => {
                tracing::debug!("an event stream ends: another connection carries its session, or none");
                self.carrier = None;
                None
            }
        }
    }
}

impl EventBody {
    /// Counts a client that reads nothing, for which its connection was dropped.
    fn count_slow(&self) {
        let connection = match (&self.carrier, &self.registration) {
            (Some(Carrier::Local { session, .. }), _) => session.connection(),
            (Some(Carrier::Remote(_)), Some(registration)) => registration.connection(),
            _ => return, // it is over, and that was logged
        };
        let channel = connection.channel();
        tracing::warn!(?channel, rule = "write_timeout", "ending an event stream whose client reads nothing");
        connection.count_slow();
    }
}

impl Drop for EventBody {
    /// Ends a new session whose first event was not read: its client does not have the token.
    fn drop(&mut self) {
        if self.stalled.is_set() {
            self.count_slow();
        }
        if self.first.is_some()
            && self.is_new
            && let Some(Carrier::Local { session, .. }) = &self.carrier
        {
            session.finish(Close::ABNORMAL.into());
        }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.registration.as_ref().is_some_and(|registration| registration.poll_end(cx).is_ready()) {
            this.carrier = None;
        }
        let chunk = match (this.first.take(), &mut this.carrier) {
            (Some(first), _) => Some(first),
            (None, None) => return Poll::Ready(None),
            (None, Some(carrier)) => match carrier.poll_output(cx) {
                Poll::Ready(output) => this.chunk(output),
                Poll::Pending if this.heartbeat.as_mut().poll(cx).is_ready() => {
                    Some(Bytes::from_static(frame::HEARTBEAT.as_bytes()))
                }
                Poll::Pending => return Poll::Pending,
            },
        };
        // Any frame is a sign of life as well. The timer is reset when it fires, not for each frame.
        if this.heartbeat.is_elapsed() {
            this.heartbeat.as_mut().reset(Instant::now() + this.interval);
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
