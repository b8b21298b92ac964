//! The exchange of batches with a session of this process: the client's frames in, the session's out.
//!
//! Knows no HTTP: batches come from clients and from other processes.

use std::{future::poll_fn, sync::Arc, task::Poll};

use http::StatusCode;
use tokio::time::timeout;

use super::{
    attachment::CarrierOutput,
    config::Settings,
    log::Payload,
    ndjson::{self, BatchError, BatchLimits, FrameBatch},
    protocol::{ControlObject, Gap, RequestMode},
    session::Session,
    token::SessionToken,
};
use crate::{frame::Frame, scope::Transport};

/// The reply to a batch.
#[derive(Default)]
pub(super) struct BatchReply {
    pub(super) status: StatusCode,
    pub(super) control: ControlObject,
    pub(super) frames: Vec<Payload>,
}

/// The sender of a batch.
pub(super) struct Requester {
    /// The client's user, if guards had to find it out.
    pub(super) user: Option<Option<Arc<str>>>,
    pub(super) transport: Transport,
    /// Whether the batch comes from a process that carries the session, not from the client itself.
    pub(super) relayed: bool,
}

impl Settings {
    /// Parses a batch within the limits of clients.
    pub(super) fn parse(&self, body: &[u8]) -> Result<FrameBatch, StatusCode> {
        let limits = BatchLimits { frames: self.resume.batch_messages, frame: self.limits.max_message_size };
        ndjson::parse(body, limits).map_err(|error| match error {
            BatchError::Malformed => StatusCode::BAD_REQUEST,
            BatchError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        })
    }
}

impl BatchReply {
    fn new(status: StatusCode, control: ControlObject) -> Self {
        Self { status, control, frames: Vec::new() }
    }

    pub(super) fn ok(control: ControlObject) -> Self {
        Self::new(StatusCode::OK, control)
    }

    pub(super) fn body(&self) -> Vec<u8> {
        ndjson::write(&self.control, &self.frames)
    }
}

/// Handles a batch. `None` if its sender is not the session's client.
pub(super) async fn exchange(
    session: &Session,
    token: SessionToken,
    asked: &ControlObject,
    frames: Vec<Frame>,
    requester: Requester,
) -> Option<BatchReply> {
    let (mut control, poll) = attach(session, token, asked, &requester)?;
    if !requester.relayed {
        session.note_heard();
    }
    if !frames.is_empty() {
        let pushed = session.push(asked.first.unwrap_or_default().max(1), frames).await;
        if let Err(ack) = pushed {
            return Some(BatchReply::new(StatusCode::CONFLICT, ControlObject::ack(ack)));
        }
    }
    if let Some(close) = asked.close.clone() {
        session.finish(close.into());
    }
    let cursor = asked.cursor.unwrap_or_default();
    let mode = asked.mode.unwrap_or(RequestMode::Send);
    let mut frames = Vec::new();
    if mode == RequestMode::Send {
        if asked.cursor.is_some() {
            session.acknowledge(cursor);
        }
        drop(poll); // the carrier of another process, which polls next
    } else {
        let poll = poll.unwrap_or_else(|| {
            let after = asked.after.filter(|_| requester.relayed).unwrap_or(cursor);
            let (carrier, after, gap) = session.attach_poll(cursor, after);
            control.gap = gap;
            AttachedPoll { session, carrier, after }
        });
        frames = poll.take(mode, &mut control).await;
    }
    control.ack = Some(session.received());
    Some(BatchReply { status: StatusCode::OK, control, frames })
}

/// Checks the sender's right to the session. Returns the beginning of the reply, and the poll if a new carrier begins.
fn attach<'a>(
    session: &'a Session,
    token: SessionToken,
    asked: &ControlObject,
    requester: &Requester,
) -> Option<(ControlObject, Option<AttachedPoll<'a>>)> {
    if asked.resume == Some(true) {
        let (cursor, user) = (asked.cursor.unwrap_or_default(), requester.user.clone().flatten());
        let attachment =
            session.resume(token.secret, user.as_deref(), cursor, requester.transport).ok()??;
        let (carrier, after) = (attachment.carrier, attachment.cursor);
        let control = attachment.control(session, true);
        return Some((control, Some(AttachedPoll { session, carrier, after })));
    }
    let polls = asked.mode.is_some_and(|mode| mode != RequestMode::Send);
    if !session.admits(token.secret, requester.user.as_ref().map(Option::as_deref), polls) {
        return None;
    }
    let carries_stream = requester.relayed && polls && requester.transport == Transport::EventStream;
    if carries_stream && session.drop_silent() {
        return None;
    }
    if !requester.relayed || asked.confirmed == Some(true) {
        session.confirm_by(token.secret);
    }
    Some((ControlObject::default(), None))
}

/// A poll that is attached to a session. Dropped, with or without an answer, it detaches: the client may not poll again.
struct AttachedPoll<'a> {
    session: &'a Session,
    carrier: u64,
    /// The number after which it goes on.
    after: u64,
}

impl AttachedPoll<'_> {
    /// Takes the frames for the answer, and notes in `control` what else it says.
    async fn take(self, mode: RequestMode, control: &mut ControlObject) -> Vec<Payload> {
        let Self { session, carrier, after } = self;
        let output = if mode == RequestMode::LongPoll && control.open.is_none() && control.gap.is_none() {
            let limit = session.settings.resume.poll_timeout;
            timeout(limit, poll_fn(|cx| session.poll_output(carrier, cx))).await.ok()
        } else {
            poll_fn(|cx| match session.poll_output(carrier, cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        };
        match output {
            Some(CarrierOutput::Frames(first, frames)) => {
                if first > after + 1 {
                    // A known gap ends where this one begins.
                    let from = control.gap.map_or(after + 1, |gap| gap.from);
                    control.gap = Some(Gap { from, to: Some(first - 1) });
                    if let Some(open) = &mut control.open {
                        open.cursor = first - 1;
                    }
                }
                control.first = Some(first);
                return frames;
            }
            Some(CarrierOutput::Closed(close)) => control.close = Some(close.into()),
            Some(CarrierOutput::Replaced) | None => {}
        }
        Vec::new()
    }
}

impl Drop for AttachedPoll<'_> {
    fn drop(&mut self) {
        self.session.detach(self.carrier);
    }
}
