//! The upgrade of a request to a WebSocket: the application decides, then the response is sent.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio::{sync::oneshot, time::timeout};

use super::task::WebSocketTask;
use crate::{
    connections::{Connections, Registration},
    frame::Close,
    limits::Limits,
    scope::{Scope, Stalled},
    transport::reply::{HttpReply, empty},
    wire::{Accept, Incoming, Outgoing, Refuse, Wire},
};

/// A request whose handshake is valid.
pub(crate) struct WebSocketRequest {
    pub(crate) scope: Scope,
    response: HttpReply,
    upgrade: OnUpgrade,
}

impl<B> From<Request<B>> for WebSocketRequest {
    fn from(mut request: Request<B>) -> Self {
        let (response, upgrade) = (switching_protocols(request.headers()), hyper::upgrade::on(&mut request));
        // A WebSocket has its own write timeout, and each connection would keep the extension.
        request.extensions_mut().remove::<Stalled>();
        Self { scope: Scope::from_request(&mut request), response, upgrade }
    }
}

impl WebSocketRequest {
    /// Serves the request. `open` starts the application behind it.
    ///
    /// The receiver gets the response. The connection runs in tasks of its own.
    pub(crate) fn serve(
        self,
        limits: Arc<Limits>,
        connections: &Connections,
        open: impl FnOnce(Scope) -> Wire,
    ) -> oneshot::Receiver<HttpReply> {
        let (send, receive) = oneshot::channel();
        let Self { scope, response, upgrade } = self;
        let wire = open(scope);
        match connections.register(wire.connection()) {
            None => _ = send.send(empty(StatusCode::SERVICE_UNAVAILABLE)),
            Some(registration) => {
                let mut pending = PendingUpgrade { wire, limits, registration, response, upgrade };
                // Most applications decide at once, which needs no task. The task of the others polls them again.
                match poll_decision(&mut pending.wire, &mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(decision) => pending.complete(Some(decision), send, connections),
                    Poll::Pending => connections.spawn(pending.wait(send, connections.clone())),
                }
            }
        }
        receive
    }
}

/// Creates the response of an accepted handshake, without the application's headers.
fn switching_protocols(request: &HeaderMap) -> HttpReply {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = request.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if let Ok(accept) = derive_accept_key(key).try_into() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// A handshake that the application has not decided on.
struct PendingUpgrade {
    wire: Wire,
    limits: Arc<Limits>,
    registration: Registration,
    response: HttpReply,
    upgrade: OnUpgrade,
}

impl PendingUpgrade {
    async fn wait(mut self, mut reply: oneshot::Sender<HttpReply>, connections: Connections) {
        let decision = self.decision(&mut reply).await;
        self.complete(decision, reply, &connections);
    }

    /// Waits for the decision. `None` if the client left before.
    async fn decision(&mut self, reply: &mut oneshot::Sender<HttpReply>) -> Option<Result<Accept, Refuse>> {
        let limit = self.limits.accept_timeout;
        let decided = timeout(limit, poll_fn(|cx| poll_decision(&mut self.wire, cx)));
        match select(pin!(decided), pin!(reply.closed())).await {
            Either::Left((Ok(decision), _)) => Some(decision),
            Either::Left((Err(_), _)) => {
                tracing::warn!(?limit, "no decision about a client in time");
                Some(Err(StatusCode::SERVICE_UNAVAILABLE.into()))
            }
            Either::Right(_) => None,
        }
    }

    /// Acts on the decision. The rest of the work has its own tasks, so that this one's memory is freed.
    fn complete(
        self,
        decision: Option<Result<Accept, Refuse>>,
        reply: oneshot::Sender<HttpReply>,
        connections: &Connections,
    ) {
        match decision {
            Some(Ok(accept)) => return self.accept(accept, reply, connections),
            Some(Err(refuse)) => _ = reply.send(refuse.into()), // a client that has left needs none
            None => {}
        }
        connections.spawn(disconnect(self.wire, self.registration));
    }

    fn accept(mut self, accept: Accept, reply: oneshot::Sender<HttpReply>, connections: &Connections) {
        let mut response = self.response;
        response.headers_mut().extend(accept.headers);
        // A valid value, because the client offered it in a header.
        if let Some(Ok(chosen)) = accept.subprotocol.map(HeaderValue::try_from) {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        let is_sent = reply.send(response).is_ok();
        self.wire.accepted();
        if is_sent {
            connections.spawn(WebSocketTask::new(self.upgrade, self.wire, self.limits, self.registration));
        } else {
            connections.spawn(disconnect(self.wire, self.registration));
        }
    }
}

/// Disconnects the application and waits for its end. The connection stays registered until then.
async fn disconnect(mut wire: Wire, registration: Registration) {
    wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
    poll_fn(|cx| wire.poll(cx)).await;
    drop(registration);
}

/// Polls an application up to its decision whether the client may enter.
pub(crate) fn poll_decision(wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Result<Accept, Refuse>> {
    let has_ended = wire.poll(cx).is_ready();
    let mut decision = None;
    wire.take_outputs(|outputs| {
        decision = outputs.pop_front().and_then(|first| match first {
            Outgoing::Accept(accept) => Some(Ok(accept)),
            Outgoing::Refuse(refuse) => Some(Err(refuse)),
            _ => None,
        });
    });
    match decision {
        Some(decision) => Poll::Ready(decision),
        None if has_ended => Poll::Ready(Err(Refuse::default())),
        None => Poll::Pending,
    }
}
