//! `POST` requests: polls, and the frames of a client that has an event stream.

use std::{future::poll_fn, pin::pin};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::body::Body;

use super::super::{
    admission::AdmittedClient,
    body::BodyReader,
    config::LostSession,
    exchange::{BatchReply, Requester, exchange},
    forward::{ForwardReply, ForwardRequest},
    ndjson::FrameBatch,
    protocol::{ControlObject, Gap, RequestMode},
    registry::Reservation,
    request,
    service::{SessionLocation, SessionService, StartedSession},
    session::Session,
    token::SessionToken,
};
use crate::{
    error::BoxError,
    scope::{Scope, Transport},
    transport::{ReplyBody, min_rate_body::MinRateBody, reply::HttpReply},
    wire::Refuse,
};

/// Bytes of a request's body for the control object, quotes and escapes.
const MARGIN: usize = 64 << 10;
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Answers a `POST`.
pub(super) async fn post<B>(service: &SessionService, scope: Scope, body: B) -> HttpReply
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    match try_post(service, scope, body).await {
        Ok(reply) => reply,
        Err(refuse) => refuse.into(),
    }
}

async fn try_post<B>(service: &SessionService, mut scope: Scope, body: B) -> Result<HttpReply, Refuse>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let (body, _reservation, client) = read(service, &scope, body).await?;
    let batch = service.settings_at(&scope).parse(&body)?;
    scope.transport = transport_of(batch.control.mode);
    match &batch.control.token {
        None => open(service, scope, &batch.control, None).await,
        Some(token) => match SessionToken::parse(token) {
            Some(token) => answer(service, scope, token, batch, body, client).await,
            None => open_instead(service, scope, &batch.control).await,
        },
    }
}

type ReadBody = (Bytes, Reservation<Session>, Option<AdmittedClient>);

/// Reads the body. One that has not arrived with its head is waited for only if its client is admitted, or has the
/// credentials of an admitted client.
async fn read<B>(service: &SessionService, scope: &Scope, body: B) -> Result<ReadBody, Refuse>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let settings = service.settings_at(scope);
    let limits = &settings.limits;
    let limit = limits.max_message_size.saturating_mul(2).saturating_add(MARGIN);
    let has_room = usize::try_from(body.size_hint().lower()).is_ok_and(|bytes| bytes <= limit);
    if !has_room {
        return Err(StatusCode::PAYLOAD_TOO_LARGE.into());
    }
    let body = MinRateBody::new(body, limits.message_timeout);
    let reservation = service.registry().reserve(request::address(scope));
    let mut reader = BodyReader::new(body, limit, reservation);
    let mut client = None;
    if !reader.is_complete().await? && !service.knows(&scope.headers) {
        client = Some(service.admit(scope.clone()).await?);
    }
    let (body, reservation) = reader.read_all().await?;
    Ok((body, reservation, client))
}

/// Opens a session. `lost` is the cursor of one that is gone.
async fn open(
    service: &SessionService,
    mut scope: Scope,
    control: &ControlObject,
    lost: Option<u64>,
) -> Result<HttpReply, Refuse> {
    if control.mode.is_none_or(|mode| mode == RequestMode::Send) {
        return Err(StatusCode::BAD_REQUEST.into());
    }
    LostSession::mark(&mut scope, lost);
    let StartedSession { session, attachment, headers } = service.open(scope).await?;
    session.detach(attachment.carrier); // until the first poll
    let control = ControlObject { gap: lost.map(Gap::after), ..attachment.control(&session, false) };
    Ok(reply_of(&BatchReply::ok(control), headers))
}

/// Opens a session in place of one that is gone, if the client asks for it.
async fn open_instead(
    service: &SessionService,
    scope: Scope,
    control: &ControlObject,
) -> Result<HttpReply, Refuse> {
    let polls = control.mode.is_some_and(|mode| mode != RequestMode::Send);
    if control.resume != Some(true) || !polls {
        return Err(StatusCode::GONE.into());
    }
    let lost = control.cursor.unwrap_or_default();
    open(service, scope, control, Some(lost)).await
}

/// Answers a batch for a session. `client` is set if the guards have been asked already.
async fn answer(
    service: &SessionService,
    scope: Scope,
    token: SessionToken,
    FrameBatch { control, frames }: FrameBatch,
    body: Bytes,
    mut client: Option<AdmittedClient>,
) -> Result<HttpReply, Refuse> {
    let resumes = control.resume == Some(true);
    if client.is_none() && (resumes || !service.is_admitted(token.session, &scope.headers)) {
        client = Some(service.admit(scope.clone()).await?);
    }
    let was_admitted = client.is_some();
    let (user, headers) = client.map_or_else(Default::default, |client| (Some(client.user), client.headers));
    let (path, transport) = (scope.uri.path(), scope.transport);
    let reply = match service.locate(token, Some(path)) {
        SessionLocation::Local(session) => {
            let requester = Requester { user, transport, relayed: false };
            let reply = exchange(&session, token, &control, frames, requester).await;
            reply.map(|reply| reply_of(&reply, headers))
        }
        SessionLocation::Remote => {
            let waits = control.mode == Some(RequestMode::LongPoll) || !frames.is_empty();
            let request = ForwardRequest { body, user, path: Some(path.into()), transport, relayed: false };
            forward(service, token, request, waits, headers).await?
        }
        SessionLocation::Gone => None,
    };
    let Some(reply) = reply else { return open_instead(service, scope, &control).await };
    if was_admitted {
        service.remember_client(token.session, &scope.headers);
    }
    Ok(reply)
}

/// Forwards a request. `None` if the session is gone.
async fn forward(
    service: &SessionService,
    token: SessionToken,
    request: ForwardRequest,
    waits: bool,
    headers: HeaderMap,
) -> Result<Option<HttpReply>, Refuse> {
    let registration = service.register_carrier().ok_or_else(Refuse::unavailable)?;
    let ended = poll_fn(|cx| registration.poll_end(cx));
    match select(pin!(service.forward(token.process, request, waits)), ended).await {
        Either::Left((reply, _)) => {
            let reply = reply?.filter(|reply| reply.status != StatusCode::GONE);
            Ok(reply.map(|reply| forwarded_reply(reply, headers)))
        }
        // This process shuts down: the client polls again, and reaches another.
        Either::Right(_) => Ok(Some(reply_of(&BatchReply::default(), headers))),
    }
}

fn reply_of(reply: &BatchReply, headers: HeaderMap) -> HttpReply {
    batch_response(reply.status, reply.body().into(), headers)
}

fn forwarded_reply(reply: ForwardReply, headers: HeaderMap) -> HttpReply {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    batch_response(status, reply.body, headers)
}

fn batch_response(status: StatusCode, body: Bytes, headers: HeaderMap) -> HttpReply {
    let mut response = Response::new(ReplyBody::whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::CONTENT_TYPE, NDJSON);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn transport_of(mode: Option<RequestMode>) -> Transport {
    match mode {
        Some(RequestMode::Poll) => Transport::Poll,
        Some(RequestMode::LongPoll) => Transport::LongPoll,
        Some(RequestMode::Send) | None => Transport::EventStream,
    }
}
