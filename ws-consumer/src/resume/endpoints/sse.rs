//! Event streams.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::super::{
    carrier::{Carriage, Leg},
    ndjson,
    protocol::{Control, Lost},
    service::{Begun, Directory, unavailable},
    state::Taken,
    token::Token,
};
use crate::{
    frame::Close,
    scope::{Scope, Stalled},
    transport::{
        ReplyBody,
        request::{Reply, whole},
    },
};

impl Directory {
    /// Answers a request for an event stream.
    pub(in crate::resume) async fn events(&self, scope: Scope, stalled: Stalled) -> Reply {
        let last = scope.header("last-event-id").and_then(Token::parse_with_cursor);
        let asked_to_resume = scope.headers.contains_key("last-event-id");
        let begun = match last {
            Some((token, cursor)) => self.resume(scope, token, cursor).await,
            None => self.begin(scope, asked_to_resume.then_some(0)).await,
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(refuse) => return whole(refuse),
        };
        let carriage = match begun.leg.is_there().then(|| self.carriage()) {
            Some(None) => return whole(unavailable()),
            carriage => carriage.flatten(),
        };
        let headers = begun.headers.clone();
        let interval = self.terms().limits.ping_interval;
        let mut response =
            Response::new(ReplyBody::boxed(EventBody::new(begun, carriage, stalled, interval)));
        *response.headers_mut() = headers;
        for (name, value) in [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            // Proxies that gather an answer before they pass it on are asked not to.
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

struct EventBody {
    /// Nothing once the stream is over.
    leg: Option<Leg>,
    /// Of a leg that is in another process: one that is here ends with its session.
    carriage: Option<Carriage>,
    stalled: Stalled,
    token: String,
    /// The number of the last frame that was sent.
    cursor: u64,
    first: Option<Bytes>,
    /// Has the session begun with it?
    is_new: bool,
    interval: Duration,
    heartbeat: Pin<Box<Sleep>>,
}

impl EventBody {
    fn new(begun: Begun, carriage: Option<Carriage>, stalled: Stalled, interval: Duration) -> Self {
        let Begun { leg, control, token, .. } = begun;
        let open = control.open.as_ref();
        let (cursor, is_new) = open.map_or((0, false), |open| (open.cursor, !open.resumed));
        let mut body = Self {
            leg: Some(leg),
            carriage,
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

    fn control(&self, control: &Control) -> Bytes {
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

    fn chunk(&mut self, taken: Taken) -> Option<Bytes> {
        match taken {
            Taken::Frames(first, frames) => {
                let mut out = Vec::with_capacity(frames.iter().map(|frame| frame.len() + 96).sum());
                if first > self.cursor + 1 {
                    let lost = Lost { from: self.cursor + 1, to: Some(first - 1) };
                    self.cursor = first - 1;
                    out.extend(self.control(&Control { gap: Some(lost), ..Control::default() }));
                }
                for (number, frame) in (first..).zip(&frames) {
                    ndjson::put_event(&mut out, frame);
                    self.put_id(&mut out, number);
                    self.cursor = number;
                }
                Some(out.into())
            }
            Taken::Over(close) => {
                tracing::debug!(close.code, close.reason, "an event stream ends with its session");
                self.leg = None;
                Some(self.control(&Control::close(close)))
            }
            Taken::Replaced => {
                tracing::debug!("an event stream ends: another connection carries its session, or none");
                self.leg = None;
                None
            }
        }
    }
}

impl EventBody {
    /// The connection has failed under it because its client takes nothing.
    fn count_slow(&self) {
        let link = match (&self.leg, &self.carriage) {
            (Some(Leg::Here { session, .. }), _) => session.link(),
            (Some(Leg::There(_)), Some(carriage)) => carriage.link(),
            _ => return, // it is over, and that was logged
        };
        let channel = link.channel();
        tracing::warn!(?channel, rule = "write_timeout", "ending an event stream of which nothing is taken");
        link.count_slow();
    }
}

impl Drop for EventBody {
    /// Nobody came to fetch the beginning: the client has left, and knows no token of a session that is new.
    fn drop(&mut self) {
        if self.stalled.is_set() {
            self.count_slow();
        }
        if self.first.is_some()
            && self.is_new
            && let Some(Leg::Here { session, .. }) = &self.leg
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
        if this.carriage.as_ref().is_some_and(|carriage| carriage.poll_end(cx).is_ready()) {
            this.leg = None;
        }
        let chunk = match (this.first.take(), &mut this.leg) {
            (Some(first), _) => Some(first),
            (None, None) => return Poll::Ready(None),
            (None, Some(leg)) => match leg.poll_take(cx) {
                Poll::Ready(taken) => this.chunk(taken),
                Poll::Pending if this.heartbeat.as_mut().poll(cx).is_ready() => {
                    Some(Bytes::from_static(b":\n\n"))
                }
                Poll::Pending => return Poll::Pending,
            },
        };
        // What was sent is a sign of life as well; the timer is moved when it rings, not for each message.
        if this.heartbeat.is_elapsed() {
            this.heartbeat.as_mut().reset(Instant::now() + this.interval);
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
