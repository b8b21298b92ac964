//! Plain HTTP: one request, one response, with events of the channel layer in between.
//!
//! The request's body is read as the application takes it, and the response is written as the application sends it.
//! Neither is collected, so bodies may be of any length and responses of any duration.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Body;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;

use super::{
    min_rate_body::MinRateBody,
    reply::{self, HttpReply, ReplyBody, empty},
};
use crate::{
    connections::Connections,
    error::BoxError,
    frame::{Close, Frame as Payload},
    limits::Limits,
    scope::{Scope, Stalled},
    wire::{Head, Incoming, Outgoing, Refuse, Wire},
};

/// The number of chunks of a response that wait for the client, in addition to those in the wire.
const CHUNKS: usize = 4;

/// Serves a request. `open` starts the application behind it, and the receiver gets the response.
pub(crate) fn serve<B>(
    scope: Scope,
    body: B,
    limits: &Limits,
    connections: &Connections,
    open: impl FnOnce(Scope) -> Wire,
) -> oneshot::Receiver<HttpReply>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (send, receive) = oneshot::channel();
    let is_head = scope.method == Method::HEAD;
    let stalled = scope.extensions.get::<Stalled>().cloned().unwrap_or_default();
    let wire = open(scope);
    match connections.register(wire.connection()) {
        None => _ = send.send(empty(StatusCode::SERVICE_UNAVAILABLE)),
        Some(registration) => {
            let task = RequestTask {
                wire,
                body: Some(MinRateBody::new(body, limits.message_timeout)),
                stalled,
                is_late: false,
                is_head,
            };
            connections.spawn_request(async move {
                task.run(send).await;
                drop(registration);
            });
        }
    }
    receive
}

/// The task of a plain request, until its application has ended.
struct RequestTask<B> {
    wire: Wire,
    /// The request's body, until its end.
    body: Option<MinRateBody<B>>,
    stalled: Stalled,
    /// Whether the client took too long to send the body.
    is_late: bool,
    /// Whether the client asks for the response's head only.
    is_head: bool,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> RequestTask<B> {
    async fn run(mut self, mut answer: oneshot::Sender<HttpReply>) {
        let start = {
            let decided = pin!(poll_fn(|cx| self.poll_start(cx)));
            match select(decided, pin!(answer.closed())).await {
                Either::Left((start, _)) => Some(start),
                Either::Right(_) => None,
            }
        };
        match start {
            Some(ReplyStart::Head(head)) if self.is_head || reply::is_bodiless(head.status) => {
                // The application is told by the end of the connection, as by a client that has left.
                let whole = Refuse { headers: head.headers, ..head.status.into() };
                _ = answer.send(reply::without_body(whole.into(), self.is_head));
                self.wire.accepted();
            }
            Some(ReplyStart::Head(head)) => {
                let (chunks, receiver) = mpsc::channel(CHUNKS);
                let mut response = Response::new(ReplyBody::stream(receiver));
                *response.status_mut() = head.status;
                *response.headers_mut() = head.headers;
                let _sent = answer.send(response); // if the client has left, the body is dropped, which `stream` notices
                self.wire.accepted();
                self.stream(PollSender::new(chunks)).await;
            }
            Some(ReplyStart::Whole(response)) => _ = answer.send(reply::without_body(response, self.is_head)),
            None => {}
        }
        self.disconnect().await;
    }

    /// Polls the application up to the beginning of its response.
    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<ReplyStart> {
        loop {
            let read = self.poll_body(cx);
            let ended = self.wire.poll(cx).is_ready();
            let mut start = None;
            self.wire.take_outputs(|outputs| {
                start = outputs.pop_front().and_then(|first| match first {
                    Outgoing::Head(head) => Some(ReplyStart::Head(head)),
                    Outgoing::Refuse(refuse) => Some(ReplyStart::Whole(refuse.into())),
                    _ => None,
                });
            });
            match start {
                Some(start) => return Poll::Ready(start),
                None if ended && self.is_late => {
                    return Poll::Ready(ReplyStart::Whole(empty(StatusCode::REQUEST_TIMEOUT)));
                }
                None if ended => {
                    return Poll::Ready(ReplyStart::Whole(empty(StatusCode::INTERNAL_SERVER_ERROR)));
                }
                None if read => {}
                None => return Poll::Pending,
            }
        }
    }

    /// Forwards the response until it ends or the client leaves.
    async fn stream(&mut self, mut chunks: PollSender<io::Result<Bytes>>) {
        let Some(sender) = chunks.get_ref().cloned() else { return };
        let mut left = pin!(sender.closed());
        poll_fn(|cx| {
            loop {
                if left.as_mut().poll(cx).is_ready() {
                    self.count_slow();
                    return Poll::Ready(());
                }
                let read = self.poll_body(cx);
                let ended = self.wire.poll(cx).is_ready();
                match self.poll_forward(cx, &mut chunks) {
                    Poll::Ready(true) => return Poll::Ready(()),
                    Poll::Ready(false) if ended => return Poll::Ready(()),
                    Poll::Ready(false) if read => {}
                    _ => return Poll::Pending,
                }
            }
        })
        .await;
    }

    /// Counts the client as slow if its response ends because the client takes none of it.
    fn count_slow(&self) {
        if self.stalled.is_set() {
            let connection = self.wire.connection();
            let channel = connection.channel();
            tracing::warn!(?channel, rule = "write_timeout", "ending a response whose client takes no data");
            connection.count_slow();
        }
    }

    /// Forwards output. Ready with true at the end of the response, with false without further output; pending while the
    /// client is slow.
    fn poll_forward(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut PollSender<io::Result<Bytes>>,
    ) -> Poll<bool> {
        loop {
            match chunks.poll_reserve(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(true),
                Poll::Ready(Ok(())) => {}
            }
            let mut next = None;
            let has_space = self.wire.take_outputs(|outputs| next = outputs.pop_front());
            if has_space {
                cx.waker().wake_by_ref();
            }
            let (chunk, more) = match next {
                None => return Poll::Ready(false),
                Some(Outgoing::Body { chunk, more }) => (Ok(chunk), more),
                Some(Outgoing::Encoded(message)) => match Payload::from_message(&message) {
                    Some(frame) => (Ok(frame.into_bytes()), true),
                    None => continue,
                },
                Some(Outgoing::Close(close)) if close.code == Close::NORMAL => return Poll::Ready(true),
                // The response is incomplete, and must not look complete to the client.
                Some(Outgoing::Close(_)) => (Err(io::Error::other("the response broke off")), false),
                Some(_) => continue,
            };
            let empty = chunk.as_ref().is_ok_and(Bytes::is_empty);
            if !empty && chunks.send_item(chunk).is_err() {
                return Poll::Ready(true);
            }
            if !more {
                return Poll::Ready(true);
            }
        }
    }

    /// Reads the request's body up to the application's limit of pending input. Returns true if any was read.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> bool {
        let mut read = false;
        while self.wire.wants_input()
            && let Some(body) = &mut self.body
        {
            match body.poll_frame(cx) {
                Poll::Pending => return read,
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are ignored.
                    let Ok(chunk) = frame.into_data() else { continue };
                    self.wire.feed(Incoming::HttpBody { chunk, more: true });
                }
                Poll::Ready(Some(Err(error))) => {
                    self.is_late = error.kind() == io::ErrorKind::TimedOut;
                    self.body = None;
                    self.wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
                }
                Poll::Ready(None) => {
                    self.body = None;
                    self.wire.feed(Incoming::HttpBody { chunk: Bytes::new(), more: false });
                }
            }
            read = true;
        }
        read
    }

    /// Disconnects the application and waits for its end.
    async fn disconnect(mut self) {
        self.wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
        poll_fn(|cx| self.wire.poll(cx)).await;
    }
}

/// The beginning of a response.
enum ReplyStart {
    Head(Head),
    Whole(HttpReply),
}

/// Returns the scope of a plain request. The request stays complete, because another service may serve it.
pub(crate) fn scope<B>(request: &Request<B>) -> Scope {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    let mut scope = Scope::from_request(&mut copy);
    scope.protocol = crate::scope::Protocol::Http;
    scope.transport = crate::scope::Transport::Http;
    scope
}
