//! Plain HTTP: one request, one response, with events of the channel layer in between.
//!
//! The request's body is read as the application takes it, the response leaves as the application sends it; nothing is
//! gathered on the way, so bodies may be of any length, and a response may take as long as it likes.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::{Either, FutureExt, select};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;

use super::min_rate_body::MinRateBody;
use crate::{
    connections::Connections,
    error::BoxError,
    frame::{Close, Frame as Payload},
    limits::Limits,
    scope::{Scope, Stalled},
    wire::{Head, Incoming, Outgoing, Wire},
};

/// Parts of a response that wait for the client, beside those that wait in the wire.
const CHUNKS: usize = 4;

/// A response's body: whole, or as the application sends it.
pub struct ReplyBody(Kind);

enum Kind {
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send>>),
    Stream(mpsc::Receiver<Result<Bytes, io::Error>>),
    Whole(Option<Bytes>),
}

impl ReplyBody {
    pub(crate) fn boxed(body: impl Body<Data = Bytes, Error = io::Error> + Send + 'static) -> Self {
        Self(Kind::Boxed(Box::pin(body)))
    }

    /// A body that is complete.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }
}

/// Of an answer to a handshake, which is always whole.
impl From<Full<Bytes>> for ReplyBody {
    fn from(mut body: Full<Bytes>) -> Self {
        let body = body.frame().now_or_never().flatten().and_then(|frame| frame.ok()?.into_data().ok());
        Self::whole(body.unwrap_or_default())
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Kind::Boxed(body) => body.as_mut().poll_frame(cx),
            Kind::Stream(chunks) => {
                chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match &self.0 {
            Kind::Boxed(_) | Kind::Stream(_) => hyper::body::SizeHint::default(),
            Kind::Whole(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

/// The answer to a request.
pub(crate) type Reply = Response<ReplyBody>;

/// Serves a request; `open` starts the application behind it. What is received is the response.
pub(crate) fn serve<B>(
    scope: Scope,
    body: B,
    limits: &Limits,
    connections: &Connections,
    open: impl FnOnce(Scope) -> Wire,
) -> oneshot::Receiver<Reply>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (send, receive) = oneshot::channel();
    let stalled = scope.extensions.get::<Stalled>().cloned().unwrap_or_default();
    let wire = open(scope);
    match connections.register(wire.connection()) {
        None => _ = send.send(plain(StatusCode::SERVICE_UNAVAILABLE)),
        Some(registration) => {
            let exchange = RequestTask {
                wire,
                body: Some(MinRateBody::new(body, limits.message_timeout)),
                stalled,
                is_late: false,
            };
            connections.spawn_request(async move {
                exchange.run(send).await;
                drop(registration);
            });
        }
    }
    receive
}

struct RequestTask<B> {
    wire: Wire,
    /// Until its end.
    body: Option<MinRateBody<B>>,
    stalled: Stalled,
    /// Has the client taken too long to send it?
    is_late: bool,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> RequestTask<B> {
    async fn run(mut self, mut answer: oneshot::Sender<Reply>) {
        let begun = {
            let decided = pin!(poll_fn(|cx| self.poll_beginning(cx)));
            match select(decided, pin!(answer.closed())).await {
                Either::Left((begun, _)) => Some(begun),
                Either::Right(_) => None,
            }
        };
        match begun {
            Some(Begun::Head(head)) => {
                let (chunks, receiver) = mpsc::channel(CHUNKS);
                let mut response = Response::new(ReplyBody(Kind::Stream(receiver)));
                *response.status_mut() = head.status;
                *response.headers_mut() = head.headers;
                let _left = answer.send(response); // its body is dropped then, which the next step sees
                self.wire.accepted();
                self.stream(PollSender::new(chunks)).await;
            }
            Some(Begun::Whole(response)) => _ = answer.send(response),
            None => {}
        }
        self.see_off().await;
    }

    fn poll_beginning(&mut self, cx: &mut Context<'_>) -> Poll<Begun> {
        loop {
            let read = self.poll_body(cx);
            let ended = self.wire.poll(cx).is_ready();
            let mut begun = None;
            self.wire.take_outputs(|outputs| {
                begun = outputs.pop_front().and_then(|first| match first {
                    Outgoing::Head(head) => Some(Begun::Head(head)),
                    Outgoing::Refuse(refuse) => Some(Begun::Whole(whole(refuse))),
                    _ => None,
                });
            });
            match begun {
                Some(begun) => return Poll::Ready(begun),
                None if ended && self.is_late => {
                    return Poll::Ready(Begun::Whole(plain(StatusCode::REQUEST_TIMEOUT)));
                }
                None if ended => return Poll::Ready(Begun::Whole(plain(StatusCode::INTERNAL_SERVER_ERROR))),
                None if read => {}
                None => return Poll::Pending,
            }
        }
    }

    /// Passes the response on until it ends, or nobody reads it any more.
    async fn stream(&mut self, mut chunks: PollSender<io::Result<Bytes>>) {
        let Some(watch) = chunks.get_ref().cloned() else { return };
        let mut left = pin!(watch.closed());
        poll_fn(|cx| {
            loop {
                if left.as_mut().poll(cx).is_ready() {
                    self.count_slow();
                    return Poll::Ready(());
                }
                let read = self.poll_body(cx);
                let ended = self.wire.poll(cx).is_ready();
                match self.poll_pass_on(cx, &mut chunks) {
                    Poll::Ready(true) => return Poll::Ready(()),
                    Poll::Ready(false) if ended => return Poll::Ready(()),
                    Poll::Ready(false) if read => {}
                    _ => return Poll::Pending,
                }
            }
        })
        .await;
    }

    /// Counts the client as slow, if its response ends because nothing of it is read.
    fn count_slow(&self) {
        if self.stalled.is_set() {
            let link = self.wire.connection();
            let channel = link.channel();
            tracing::warn!(?channel, rule = "write_timeout", "ending a response of which nothing is taken");
            link.count_slow();
        }
    }

    /// Ready with true at the end of the response, with false when nothing waits; pending for a slow client.
    fn poll_pass_on(
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
            let room = self.wire.take_outputs(|outputs| next = outputs.pop_front());
            if room {
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
                // What was sent is not all: the client must not take it for the whole.
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

    /// Reads what there is of the request's body, as far as the application keeps up. True if there was something.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> bool {
        let mut read = false;
        while self.wire.wants_input()
            && let Some(body) = &mut self.body
        {
            match body.poll_frame(cx) {
                Poll::Pending => return read,
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing that anybody here waits for.
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

    /// Lets the application end.
    async fn see_off(mut self) {
        self.wire.feed(Incoming::Disconnect(Close::ABNORMAL.into()));
        poll_fn(|cx| self.wire.poll(cx)).await;
    }
}

enum Begun {
    Head(Head),
    Whole(Reply),
}

/// A refusal as a response.
pub(crate) fn whole(refuse: crate::wire::Refuse) -> Reply {
    let mut response = Response::new(ReplyBody::whole(refuse.body));
    *response.status_mut() = refuse.status;
    *response.headers_mut() = refuse.headers;
    response
}

fn plain(status: StatusCode) -> Reply {
    whole(status.into())
}

/// What is known about a plain request, which stays whole: it may yet go elsewhere.
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
