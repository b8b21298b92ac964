//! [`ReplyBody`], and the responses that have it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::wire::Refuse;

/// The body of a response: complete, or in the parts that the application sends.
pub struct ReplyBody(ReplyContent);

enum ReplyContent {
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send>>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
    Whole(Option<Bytes>),
}

/// A response of this crate.
pub(crate) type HttpReply = Response<ReplyBody>;

impl ReplyBody {
    pub(crate) fn boxed(body: impl Body<Data = Bytes, Error = io::Error> + Send + 'static) -> Self {
        Self(ReplyContent::Boxed(Box::pin(body)))
    }

    /// Creates a body from the chunks of a queue.
    pub(crate) fn stream(chunks: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self(ReplyContent::Stream(chunks))
    }

    /// Creates a complete body.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(ReplyContent::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            ReplyContent::Boxed(body) => body.as_mut().poll_frame(cx),
            ReplyContent::Stream(chunks) => {
                chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
            ReplyContent::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, ReplyContent::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            ReplyContent::Boxed(_) | ReplyContent::Stream(_) => SizeHint::default(),
            ReplyContent::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

/// A refusal as a response.
impl From<Refuse> for HttpReply {
    fn from(refuse: Refuse) -> Self {
        let mut response = Self::new(ReplyBody::whole(refuse.body));
        *response.status_mut() = refuse.status;
        *response.headers_mut() = refuse.headers;
        response
    }
}

/// Creates a response without a body.
pub(crate) fn empty(status: StatusCode) -> HttpReply {
    Refuse::from(status).into()
}

/// Whether a response with this status has no body (RFC 9110, section 6.4.1).
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Removes the body from a response that has none by its status, or by the request's method, which is `HEAD`.
pub(crate) fn without_body(mut reply: HttpReply, is_head: bool) -> HttpReply {
    let is_bodiless = is_bodiless(reply.status());
    if !is_bodiless && !is_head {
        return reply;
    }
    let len = reply.body().size_hint().exact().filter(|&len| len > 0);
    let headers = reply.headers_mut();
    if is_bodiless {
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRANSFER_ENCODING);
    } else if let Some(len) = len {
        headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(len));
    }
    *reply.body_mut() = ReplyBody::whole(Bytes::new());
    reply
}
