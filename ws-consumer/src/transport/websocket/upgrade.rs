//! From a request to a running connection: the application decides, then the answer goes out.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio::{sync::oneshot, time::timeout};

use super::task::WebSocketTask;
use crate::{
    connections::{Connections, Registration},
    frame::Close,
    limits::Limits,
    scope::{Scope, Stalled},
    wire::{Accept, Incoming, Outgoing, Refuse, Wire},
};

/// The answer to a handshake.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Serves a request whose handshake is proper; `open` starts the application behind it.
///
/// What is received is the answer to the client. The connection lives in tasks of its own.
pub(crate) fn upgrade<B>(
    mut request: Request<B>,
    limits: Arc<Limits>,
    connections: &Connections,
    open: impl FnOnce(Scope) -> Wire,
) -> oneshot::Receiver<Answer> {
    let (send, receive) = oneshot::channel();
    let (response, upgrade) = (switching(request.headers()), hyper::upgrade::on(&mut request));
    // Connections look for themselves, and every one would carry it.
    request.extensions_mut().remove::<Stalled>();
    let wire = open(Scope::from_request(&mut request));
    match connections.register(wire.connection()) {
        None => _ = send.send(plain(StatusCode::SERVICE_UNAVAILABLE)),
        Some(registration) => {
            let mut door = Door { wire, limits, registration, response, upgrade };
            // Most applications decide at once, and need no task to wait in. Those that do not are polled anew there.
            match poll_decision(&mut door.wire, &mut Context::from_waker(Waker::noop())) {
                Poll::Ready(decision) => door.act(decision, send, connections),
                Poll::Pending => connections.spawn(door.decide(send, connections.clone())),
            }
        }
    }
    receive
}

/// The answer that lets a client in, as far as it depends on the request.
fn switching(request: &HeaderMap) -> Answer {
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = request.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if let Ok(accept) = derive_accept_key(key).try_into() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// A client that waits to be let in.
struct Door {
    wire: Wire,
    limits: Arc<Limits>,
    registration: Registration,
    response: Answer,
    upgrade: OnUpgrade,
}

/// What an application has decided about a client.
pub(crate) enum Decision {
    Accept(Accept),
    Refuse(Refuse),
    /// The client did not wait.
    Left,
}

impl Door {
    async fn decide(mut self, mut answer: oneshot::Sender<Answer>, connections: Connections) {
        let decision = self.decision(&mut answer).await;
        self.act(decision, answer, &connections);
    }

    async fn decision(&mut self, answer: &mut oneshot::Sender<Answer>) -> Decision {
        let limit = self.limits.accept_timeout;
        let decided = timeout(limit, poll_fn(|cx| poll_decision(&mut self.wire, cx)));
        match select(pin!(decided), pin!(answer.closed())).await {
            Either::Left((Ok(decision), _)) => decision,
            Either::Left((Err(_), _)) => {
                tracing::warn!(?limit, "no decision about a client in time");
                Decision::Refuse(StatusCode::SERVICE_UNAVAILABLE.into())
            }
            Either::Right(_) => Decision::Left,
        }
    }

    /// What is left to do has tasks of its own: what led here is freed.
    fn act(self, decision: Decision, answer: oneshot::Sender<Answer>, connections: &Connections) {
        match decision {
            Decision::Accept(accept) => return self.let_in(accept, answer, connections),
            Decision::Refuse(refuse) => _ = answer.send(self::answer(refuse)), // who has left needs none
            Decision::Left => {}
        }
        connections.spawn(see_off(self.wire, self.registration));
    }

    fn let_in(mut self, accept: Accept, answer: oneshot::Sender<Answer>, connections: &Connections) {
        let mut response = self.response;
        response.headers_mut().extend(accept.headers);
        // Valid, as the client offered it in a header.
        if let Some(Ok(chosen)) = accept.subprotocol.map(HeaderValue::try_from) {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        let handed_over = answer.send(response).is_ok();
        self.wire.accepted();
        if handed_over {
            connections.spawn(WebSocketTask::new(self.upgrade, self.wire, self.limits, self.registration));
        } else {
            connections.spawn(see_off(self.wire, self.registration));
        }
    }
}

/// Lets the application end. It is registered until then.
async fn see_off(mut wire: Wire, registration: Registration) {
    wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
    poll_fn(|cx| wire.poll(cx)).await;
    drop(registration);
}

/// Runs an application as far as its decision.
pub(crate) fn poll_decision(wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Decision> {
    let ended = wire.poll(cx).is_ready();
    let mut decision = None;
    wire.take_outputs(|outputs| {
        decision = outputs.pop_front().and_then(|first| match first {
            Outgoing::Accept(accept) => Some(Decision::Accept(accept)),
            Outgoing::Refuse(refuse) => Some(Decision::Refuse(refuse)),
            _ => None,
        });
    });
    match decision {
        Some(decision) => Poll::Ready(decision),
        None if ended => Poll::Ready(Decision::Refuse(Refuse::default())),
        None => Poll::Pending,
    }
}

/// A refusal as a response.
pub(crate) fn answer(refuse: Refuse) -> Answer {
    let mut response = Response::new(Full::new(refuse.body));
    *response.status_mut() = refuse.status;
    *response.headers_mut() = refuse.headers;
    response
}

pub(crate) fn plain(status: StatusCode) -> Answer {
    answer(status.into())
}
