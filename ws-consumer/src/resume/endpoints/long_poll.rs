//! Polls, and what a client says beside an event stream.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::body::Body;
use tokio::time::timeout;

use super::super::{
    address,
    admission::Screened,
    forward::{Reply, Request},
    log::Payload,
    ndjson::{self, Batch, BatchLimits, NoBatch},
    protocol::{Control, Lost, Mode},
    reading::Intake,
    registry::Reading,
    service::{Directory, Found, Opened, gone, unavailable},
    state::{Session, Taken},
    token::Token,
};
use crate::{
    error::BoxError,
    frame::Frame,
    scope::{Scope, Transport},
    transport::{
        ReplyBody,
        min_rate_body::MinRateBody,
        request::{Reply as HttpReply, whole},
    },
    wire::Refuse,
};

/// Beside the frames, what a request may have of control object, quotes and escapes.
const MARGIN: usize = 64 << 10;
const BATCH: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// A control object and frames, on their way to the client.
#[derive(Default)]
struct Answer {
    status: StatusCode,
    control: Control,
    frames: Vec<Payload>,
}

/// Who asks, as far as it had to be found out, and how.
struct Who {
    user: Option<Option<Arc<str>>>,
    transport: Transport,
    /// By a process that carries the session, not by the client itself.
    relayed: bool,
}

impl Directory {
    /// Answers a `POST`.
    pub(in crate::resume) async fn post<B>(&self, scope: Scope, body: B) -> HttpReply
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        match self.try_post(scope, body).await {
            Ok(reply) => reply,
            Err(refuse) => whole(refuse),
        }
    }

    async fn try_post<B>(&self, mut scope: Scope, body: B) -> Result<HttpReply, Refuse>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (body, _reading, screened) = self.read(&scope, body).await?;
        let batch = self.parse(&body)?;
        scope.transport = transport_of(batch.control.mode);
        match &batch.control.token {
            None => self.open_for_polls(scope, &batch.control, None).await,
            Some(token) => match Token::parse(token) {
                Some(token) => self.exchange(scope, token, batch, body, screened).await,
                None => self.over(scope, batch.control).await,
            },
        }
    }

    /// A body that is not there at once is waited for only if its client is let in, or shows what others were let in with.
    async fn read<B>(&self, scope: &Scope, body: B) -> Result<(Bytes, Reading, Option<Screened>), Refuse>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let limits = &self.terms().limits;
        let most = limits.max_message_size.saturating_mul(2).saturating_add(MARGIN);
        let is_announced = usize::try_from(body.size_hint().lower()).is_ok_and(|bytes| bytes <= most);
        if !is_announced {
            return Err(StatusCode::PAYLOAD_TOO_LARGE.into());
        }
        let body = MinRateBody::new(body, limits.message_timeout);
        let mut intake = Intake::new(body, most, self.registry().reads(address(scope)));
        let mut screened = None;
        if !intake.is_there().await? && !self.knows(&scope.headers) {
            screened = Some(self.screen(scope.clone()).await?);
        }
        let (body, reading) = intake.all().await?;
        Ok((body, reading, screened))
    }

    fn parse(&self, body: &[u8]) -> Result<Batch, StatusCode> {
        let terms = self.terms();
        let limits = BatchLimits { frames: terms.resume.batch, frame: terms.limits.max_message_size };
        ndjson::parse(body, limits).map_err(|fault| match fault {
            NoBatch::Malformed => StatusCode::BAD_REQUEST,
            NoBatch::TooMuch => StatusCode::PAYLOAD_TOO_LARGE,
        })
    }

    /// A new session; `lost` is the cursor of one that is gone.
    async fn open_for_polls(
        &self,
        mut scope: Scope,
        control: &Control,
        lost: Option<u64>,
    ) -> Result<HttpReply, Refuse> {
        if control.mode.is_none_or(|mode| mode == Mode::Send) {
            return Err(StatusCode::BAD_REQUEST.into());
        }
        scope.lost_session = lost.is_some();
        let Opened { session, continued, headers } = self.open(scope).await?;
        session.detach(continued.leg); // until the first poll
        let control = Control { gap: lost.map(gone), ..self.opened(&continued, false) };
        Ok(Answer { status: StatusCode::OK, control, frames: Vec::new() }.reply(headers))
    }

    async fn exchange(
        &self,
        scope: Scope,
        token: Token,
        batch: Batch,
        body: Bytes,
        mut screened: Option<Screened>,
    ) -> Result<HttpReply, Refuse> {
        let resumes = batch.control.resume == Some(true);
        if screened.is_none() && (resumes || !self.is_admitted(token.session, &scope.headers)) {
            screened = Some(self.screen(scope.clone()).await?);
        }
        let (checked, headers) =
            screened.map_or_else(Default::default, |screened| (Some(screened.user), screened.headers));
        let screened = checked.is_some();
        let (transport, asked) = (scope.transport, scope.headers.clone());
        let who = Who { user: checked, transport, relayed: false };
        let path = scope.uri.path();
        let reply = match self.find(token, Some(path)) {
            Found::Here(session) => {
                match self.answer(&session, token, &batch.control, batch.frames, who).await {
                    Some(answer) => answer.reply(headers),
                    None => return self.over(scope, batch.control).await,
                }
            }
            Found::Elsewhere => {
                let Who { user, transport, relayed } = who;
                let waits = batch.control.mode == Some(Mode::LongPoll) || !batch.frames.is_empty();
                let request = Request { body, user, path: Some(path.into()), transport, relayed };
                let carriage = self.carriage().ok_or_else(unavailable)?;
                let ended = poll_fn(|cx| carriage.poll_end(cx));
                match select(pin!(self.forward(token.process, request, waits)), ended).await {
                    Either::Left((Err(refuse), _)) => return Err(refuse),
                    Either::Left((Ok(Some(reply)), _)) if reply.status != StatusCode::GONE => {
                        passed_on(reply, headers)
                    }
                    Either::Left(_) => return self.over(scope, batch.control).await,
                    // This process goes away: the client asks again, and reaches another.
                    Either::Right(_) => Answer::default().reply(headers),
                }
            }
            Found::Nowhere => return self.over(scope, batch.control).await,
        };
        if screened {
            self.remember_client(token.session, &asked);
        }
        Ok(reply)
    }

    /// There is no such session, or not any more.
    async fn over(&self, scope: Scope, control: Control) -> Result<HttpReply, Refuse> {
        let polls = control.mode.is_some_and(|mode| mode != Mode::Send);
        if control.resume != Some(true) || !polls {
            return Err(StatusCode::GONE.into());
        }
        let lost = control.cursor.unwrap_or_default();
        self.open_for_polls(scope, &control, Some(lost)).await
    }

    /// What a session of this process answers; nothing to those who have no part in it.
    async fn answer(
        &self,
        session: &Arc<Session>,
        token: Token,
        asked: &Control,
        frames: Vec<Frame>,
        who: Who,
    ) -> Option<Answer> {
        let (mut control, leg) = self.admit(session, token, asked, &who)?;
        if !who.relayed {
            session.hear();
        }
        if !frames.is_empty() {
            let pushed = session.push(asked.first.unwrap_or_default().max(1), frames).await;
            if let Err(ack) = pushed {
                let (status, control) = (StatusCode::CONFLICT, Control::ack(ack));
                return Some(Answer { status, control, frames: Vec::new() });
            }
        }
        if let Some(close) = asked.close.clone() {
            session.finish(close.into());
        }
        let cursor = asked.cursor.unwrap_or_default();
        let mode = asked.mode.unwrap_or(Mode::Send);
        let mut frames = Vec::new();
        if mode == Mode::Send {
            if asked.cursor.is_some() {
                session.acknowledge(cursor);
            }
            drop(leg); // a stream in another process begins: until its first poll
        } else {
            let leg = leg.unwrap_or_else(|| {
                let after = asked.after.filter(|_| who.relayed).unwrap_or(cursor);
                let (leg, at, gap) = session.poll_begins(cursor, after);
                control.gap = gap;
                (Polling { session, leg }, at)
            });
            frames = self.poll(leg, mode, &mut control).await;
        }
        control.ack = Some(session.received());
        Some(Answer { status: StatusCode::OK, control, frames })
    }

    /// The answer's beginning, and the leg if a new one begins, with the number after which it goes on.
    fn admit<'a>(
        &self,
        session: &'a Session,
        token: Token,
        asked: &Control,
        who: &Who,
    ) -> Option<(Control, Option<(Polling<'a>, u64)>)> {
        if asked.resume == Some(true) {
            let (cursor, user) = (asked.cursor.unwrap_or_default(), who.user.clone().flatten());
            let continued = session.resume(token.secret, user.as_deref(), cursor, who.transport).ok()??;
            let control = Control { gap: continued.gap, ..self.opened(&continued, true) };
            return Some((control, Some((Polling { session, leg: continued.leg }, continued.cursor))));
        }
        let polls = asked.mode.is_some_and(|mode| mode != Mode::Send);
        if !session.admits(token.secret, who.user.as_ref().map(Option::as_deref), polls) {
            return None;
        }
        if who.relayed && polls && who.transport == Transport::EventStream && session.leave_silent() {
            return None;
        }
        if !who.relayed || asked.confirmed == Some(true) {
            session.confirm_by(token.secret);
        }
        Some((Control::default(), None))
    }

    async fn poll(
        &self,
        (polling, after): (Polling<'_>, u64),
        mode: Mode,
        control: &mut Control,
    ) -> Vec<Payload> {
        let (session, leg) = (polling.session, polling.leg);
        let taken = if mode == Mode::LongPoll && control.open.is_none() && control.gap.is_none() {
            timeout(self.terms().resume.window, poll_fn(|cx| session.poll_take(leg, cx))).await.ok()
        } else {
            poll_fn(|cx| match session.poll_take(leg, cx) {
                Poll::Ready(taken) => Poll::Ready(Some(taken)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        };
        match taken {
            Some(Taken::Frames(first, frames)) => {
                if first > after + 1 {
                    let from = control.gap.map_or(after + 1, |gap| gap.from); // one that ends where this one begins
                    control.gap = Some(Lost { from, to: Some(first - 1) });
                    if let Some(open) = &mut control.open {
                        open.cursor = first - 1;
                    }
                }
                control.first = Some(first);
                return frames;
            }
            Some(Taken::Over(close)) => control.close = Some(close.into()),
            Some(Taken::Replaced) | None => {}
        }
        Vec::new()
    }

    /// Answers for another process, which has looked at the client.
    pub(in crate::resume) async fn answer_elsewhere(&self, request: Request) -> Reply {
        let Request { body, user, path, transport, relayed } = request;
        let who = Who { user, transport, relayed };
        let gone = Reply { status: StatusCode::GONE.as_u16(), body: Bytes::new() };
        let Ok(batch) = self.parse(&body) else { return gone };
        let Some(token) = batch.control.token.as_deref().and_then(Token::parse) else { return gone };
        let Found::Here(session) = self.find(token, path.as_deref()) else { return gone };
        match self.answer(&session, token, &batch.control, batch.frames, who).await {
            Some(answer) => Reply {
                status: answer.status.as_u16(),
                body: ndjson::write(&answer.control, &answer.frames).into(),
            },
            None => gone,
        }
    }
}

/// A poll under way. Its client is not gone when it is answered, or refused, or has hung up, but it may not come again.
struct Polling<'a> {
    session: &'a Session,
    leg: u64,
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.session.detach(self.leg);
    }
}

impl Answer {
    fn reply(self, headers: HeaderMap) -> HttpReply {
        batch(self.status, ndjson::write(&self.control, &self.frames).into(), headers)
    }
}

fn passed_on(reply: Reply, headers: HeaderMap) -> HttpReply {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    batch(status, reply.body, headers)
}

fn batch(status: StatusCode, body: Bytes, headers: HeaderMap) -> HttpReply {
    let mut response = Response::new(ReplyBody::whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::CONTENT_TYPE, BATCH);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn transport_of(mode: Option<Mode>) -> Transport {
    match mode {
        Some(Mode::Poll) => Transport::Poll,
        Some(Mode::LongPoll) => Transport::LongPoll,
        Some(Mode::Send) | None => Transport::EventStream,
    }
}
