//! The carriers' side of a session: they attach to it, take its frames, and hand in the client's.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{
    inbox::PushResult,
    lifetime::Lifetime,
    log::{LogLimits, Payload},
    protocol::{ControlObject, Gap, SessionOpen},
    session::Session,
    state::{CarrierKind, SessionState},
    token::{NoRandomness, SessionToken, TokenSecret},
};
use crate::{
    frame::{Close, Frame},
    scope::Transport,
    wire::Resumed,
};

/// Bytes of one answer.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes that a stream takes at once. It takes the next ones as soon as these are on their way.
const STREAM_BYTES: usize = 64 << 10;
/// The interval between checks of a frame that waits while the server shuts down.
const SHUTDOWN_CHECK: Duration = Duration::from_millis(200);

/// A carrier that was attached to a session.
pub(super) struct Attachment {
    /// The carrier's number.
    pub(super) carrier: u64,
    pub(super) token: SessionToken,
    /// The frames after this number are sent next.
    pub(super) cursor: u64,
    pub(super) gap: Option<Gap>,
    /// The number of the client's last frame.
    pub(super) ack: u64,
    pub(super) subprotocol: Option<String>,
}

/// The next output of a session for its carrier.
#[derive(Debug)]
pub(super) enum CarrierOutput {
    /// The session has ended.
    Closed(Close),
    /// Frames to send, and the number of the first.
    Frames(u64, Vec<Payload>),
    /// Another carrier has taken over, or the session is out of reach.
    Replaced,
}

impl Attachment {
    fn new(session: &Session, state: &SessionState, carrier: u64, gap: Option<Gap>) -> Self {
        let secret = state.secrets.newest();
        Self {
            carrier,
            token: SessionToken { process: session.settings.process, session: session.id, secret },
            cursor: state.log.sent(),
            gap,
            ack: state.inbox.received(),
            subprotocol: state.subprotocol.clone(),
        }
    }

    /// The control object that begins the carrier.
    pub(super) fn control(&self, session: &Session, resumed: bool) -> ControlObject {
        let settings = &session.settings;
        let open = SessionOpen {
            token: self.token.text(),
            resumed,
            cursor: self.cursor,
            ack: self.ack,
            ttl: settings.resume.ttl.as_secs_f64(),
            heartbeat: settings.limits.ping_interval.as_secs_f64(),
            protocol: self.subprotocol.clone(),
        };
        ControlObject { open: Some(open), gap: self.gap, ..ControlObject::default() }
    }
}

impl Session {
    // ---- attaching

    /// Attaches the first carrier.
    pub(super) fn begin(&self, transport: Transport, subprotocol: Option<String>) -> Attachment {
        let user = self.connection().user();
        let mut state = self.state();
        state.user = user;
        state.subprotocol = subprotocol;
        state.lifetime = Lifetime::new(&self.settings.limits);
        let carrier = state.attach(transport.into());
        let attachment = Attachment::new(self, &state, carrier, None);
        // The task's timer may be set for later than the lifetime's end.
        let task = if state.lifetime.is_some() { state.task.take() } else { None };
        drop(state);
        task.into_iter().for_each(Waker::wake);
        attachment
    }

    /// Attaches a new carrier for a client that has a valid secret and is the same user. `None` for others.
    pub(super) fn resume(
        &self,
        secret: TokenSecret,
        user: Option<&str>,
        cursor: u64,
        transport: Transport,
    ) -> Result<Option<Attachment>, NoRandomness> {
        let mut state = self.state();
        if !state.has_valid(&secret) || state.user.as_deref() != user || cursor > state.log.last() {
            return Ok(None);
        }
        state.secrets.replace(TokenSecret::new()?);
        let carrier = state.attach(transport.into());
        state.log.acknowledge(cursor);
        let gap = state.rewind(cursor);
        state.last_heard = state.last_heard.map(|_| Instant::now());
        let attachment = Attachment::new(self, &state, carrier, gap);
        let wakers = state.take_wakers();
        let goes_on = !state.is_over();
        self.report(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        if goes_on {
            let gap = gap.and_then(|gap| Some(gap.from..=gap.to?));
            self.connection().push_resumed(Resumed { transport, gap });
        }
        Ok(Some(attachment))
    }

    /// Attaches the next poll: acknowledges up to `cursor`, and goes on after `after`. Returns the carrier's number, and the
    /// number after which it goes on.
    pub(super) fn attach_poll(&self, cursor: u64, after: u64) -> (u64, u64, Option<Gap>) {
        let mut state = self.state();
        let carrier = state.attach(CarrierKind::POLL);
        state.log.acknowledge(cursor);
        let gap = state.rewind(after);
        let sent = state.log.sent();
        let wakers = state.take_wakers();
        self.report(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        (carrier, sent, gap)
    }

    /// Detaches this carrier, unless another has taken over.
    pub(super) fn detach(&self, carrier: u64) {
        let mut state = self.state();
        let Some(known) = state.carrier_with(carrier) else { return };
        let polls = !known.kind.is_stream;
        let now = Instant::now();
        state.detach(now + self.settings.time_away(polls));
        state.between_polls = polls.then(|| now + self.settings.limits.ping_timeout);
        let task = state.task.take();
        self.report(state);
        self.room.notify_waiters(); // a client that is not there is not behind
        task.into_iter().for_each(Waker::wake);
    }

    // ---- proof

    /// Whether a request is one of this session's client; `user` is the client's, where guards have found it out again.
    ///
    /// A poll needs the newest secret: a late one of a former carrier must not take over.
    pub(super) fn admits(&self, secret: TokenSecret, user: Option<Option<&str>>, polls: bool) -> bool {
        let state = self.state();
        let is_valid = if polls { state.secrets.is_newest(&secret) } else { state.has_valid(&secret) };
        is_valid && user.is_none_or(|user| user == state.user.as_deref())
    }

    /// Notes that the client of this carrier has the token that came with it.
    pub(super) fn confirm(&self, carrier: u64) {
        let mut state = self.state();
        if state.carrier_with(carrier).is_some() {
            state.secrets.confirm();
        }
    }

    /// Notes that the client has shown this secret. If it is the newest, the former ones expire.
    pub(super) fn confirm_by(&self, secret: TokenSecret) {
        let mut state = self.state();
        if state.secrets.is_newest(&secret) {
            state.secrets.confirm();
        }
    }

    // ---- output

    /// Ready with the next output for this carrier.
    pub(super) fn poll_output(&self, carrier: u64, cx: &Context<'_>) -> Poll<CarrierOutput> {
        let mut state = self.state();
        let Some(is_stream) = state.carrier_with(carrier).map(|carrier| carrier.kind.is_stream) else {
            return Poll::Ready(CarrierOutput::Replaced);
        };
        let bytes = if is_stream { STREAM_BYTES } else { BATCH_BYTES };
        let limits = LogLimits { bytes, messages: self.settings.resume.batch_messages };
        let (had_room, was_behind) = (state.log.has_room(), state.is_behind());
        if let Some((first, frames)) = state.log.take(limits) {
            let task = if had_room && !self.is_pressed() { None } else { state.task.take() };
            let has_caught_up = was_behind && !state.is_behind();
            drop(state);
            if has_caught_up {
                self.room.notify_waiters();
            }
            task.into_iter().for_each(Waker::wake);
            return Poll::Ready(CarrierOutput::Frames(first, frames));
        }
        if let Some(close) = &state.close {
            return Poll::Ready(CarrierOutput::Closed(close.clone()));
        }
        if let Some(known) = &mut state.carrier {
            known.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn acknowledge(&self, cursor: u64) {
        let mut state = self.state();
        // Only a frame that was sent can have arrived.
        let cursor = cursor.min(state.log.sent());
        state.log.acknowledge(cursor);
        self.report(state);
    }

    // ---- signs of life

    /// Records a request that the client has sent while it has a stream.
    pub(super) fn note_heard(&self) {
        let mut state = self.state();
        let is_first = state.last_heard.replace(Instant::now()).is_none();
        let task = if is_first { state.task.take() } else { None };
        drop(state);
        task.into_iter().for_each(Waker::wake);
    }

    /// Drops a client that is silent while its stream is in another process, which cannot tell. Returns false if the client
    /// is not silent, and is to be answered.
    pub(super) fn drop_silent(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let is_silent = state.heard_until(&self.settings.limits).is_some_and(|until| until <= now);
        if is_silent {
            state.between_polls = None;
            state.expires = state.expires.min(now + self.settings.time_away(false));
        }
        let task = state.task.take_if(|_| is_silent);
        drop(state);
        task.into_iter().for_each(Waker::wake);
        is_silent
    }

    // ---- input

    /// The number of the client's last frame.
    pub(super) fn received(&self) -> u64 {
        self.state().inbox.received()
    }

    /// Hands in frames of the client, of which the first has the number `first`. Waits for room, up to a deadline, and
    /// returns the number of the last frame that was taken; as an error if frames before `first` are missing.
    pub(super) async fn push(&self, first: u64, frames: Vec<Frame>) -> Result<u64, u64> {
        let mut left = VecDeque::from(frames);
        let all = left.len();
        let until = Instant::now() + self.settings.limits.message_timeout;
        loop {
            // Before the attempt, so that room in between is not missed.
            let room = self.room.notified();
            let number = first + (all - left.len()) as u64;
            match self.try_push(number, &mut left) {
                PushResult::All(ack) | PushResult::Refused(ack) => return Ok(ack),
                PushResult::Missing(ack) => return Err(ack),
                PushResult::Full(ack) => {
                    // A server that shuts down may come to refuse a frame that waits.
                    let refuses = self.connection().refuses_input();
                    let next = if refuses { Instant::now() + SHUTDOWN_CHECK } else { until };
                    if timeout_at(next.min(until), room).await.is_err() && Instant::now() >= until {
                        return Ok(ack);
                    }
                }
            }
        }
    }

    /// Takes frames of the client while there is room, each number once.
    fn try_push(&self, first: u64, frames: &mut VecDeque<Frame>) -> PushResult {
        let refuses = self.connection().refuses_input();
        let mut state = self.state();
        let mut number = first;
        if number > state.inbox.received() + 1 && !frames.is_empty() {
            return PushResult::Missing(state.inbox.received());
        }
        while let Some(frame) = frames.pop_front() {
            if number > state.inbox.received() {
                let is_over = state.is_over();
                // A client that is slow to read is not read either: its frames may ask for more output.
                let must_wait = !is_over && (state.inbox.is_full_for(&frame) || state.is_behind());
                if refuses || must_wait {
                    frames.push_front(frame);
                    break;
                }
                if let Some(lifetime) = &mut state.lifetime {
                    lifetime.note_frame();
                }
                if is_over { state.inbox.skip(number) } else { state.inbox.push(number, frame) }
            }
            number += 1;
        }
        let (ack, has_closed) = (state.inbox.received(), state.close.is_some());
        let task = state.task.take();
        self.report(state);
        task.into_iter().for_each(Waker::wake);
        match frames.is_empty() {
            true => PushResult::All(ack),
            false if refuses && has_closed => PushResult::Refused(ack),
            false => PushResult::Full(ack),
        }
    }
}
