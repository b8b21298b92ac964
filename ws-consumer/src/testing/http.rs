//! A plain HTTP request without a network.

use std::{panic::Location, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer};
use http::{Method, Response};
use hyper::body::Body;

use super::{
    ApplicationCommunicator,
    host::TestHost,
    request::{TestRequest, request_settings},
};
use crate::{
    application::Application,
    frame::{Close, Frame},
    scope::Protocol,
    transport::reply::{is_bodiless, without_body},
    wire::{Head, Incoming, Outgoing, Refuse},
};

/// A client that sends one request to an application, in the same process.
pub struct HttpCommunicator {
    host: TestHost,
    request: TestRequest,
    body: Vec<Bytes>,
    running: Option<ApplicationCommunicator>,
}

request_settings!(HttpCommunicator);

impl HttpCommunicator {
    /// A request with this method for `path`, which may have a query, with a channel layer of its own.
    ///
    /// # Panics
    /// When the method or the path is invalid.
    pub fn new(application: Arc<dyn Application>, method: &str, path: &str) -> Self {
        Self::with_host(TestHost::new(application, Arc::new(MemoryLayer::default()), None), method, path)
    }

    pub(super) fn with_host(host: TestHost, method: &str, path: &str) -> Self {
        let mut request = TestRequest::new(Protocol::Http, path);
        request.scope.method = Method::from_bytes(method.as_bytes()).expect("a method");
        Self { host, request, body: Vec::new(), running: None }
    }

    /// Uses this layer.
    pub fn with_layer(mut self, layer: impl ChannelLayer) -> Self {
        self.host = self.host.with_layer(layer.into_shared());
        self
    }

    /// Adds a part of a body, which arrives by itself.
    pub fn with_body(mut self, chunk: impl Into<Bytes>) -> Self {
        self.body.push(chunk.into());
        self
    }

    /// Sends the request and waits for the whole response. As from a server, one to `HEAD` has no body, and neither has one
    /// with 204 or 304.
    ///
    /// # Panics
    /// When it does not come, and when its body breaks off.
    #[track_caller]
    pub fn get_response(&mut self) -> impl Future<Output = Response<Bytes>> {
        self.response_at(Location::caller())
    }

    async fn response_at(&mut self, at: &Location<'_>) -> Response<Bytes> {
        let (head, mut more, mut body) = match self.begin(at).await {
            ResponseStart::Head(head) => (head, true, BytesMut::new()),
            ResponseStart::Whole(response) => return response,
        };
        while more {
            let (chunk, further) = self.chunk_at(at).await;
            body.extend_from_slice(&chunk);
            more = further;
        }
        response(head, body.freeze())
    }

    /// Sends the request, and waits for the beginning of the response; [`next_chunk`](Self::next_chunk) has the rest.
    ///
    /// # Panics
    /// When it does not come, and for a response that is whole at once.
    #[track_caller]
    pub fn get_headers(&mut self) -> impl Future<Output = Head> {
        self.headers_at(Location::caller())
    }

    async fn headers_at(&mut self, at: &Location<'_>) -> Head {
        match self.begin(at).await {
            ResponseStart::Head(head) => head,
            ResponseStart::Whole(response) if self.asks_for_head() => {
                let (parts, _) = response.into_parts();
                Head { status: parts.status, headers: parts.headers }
            }
            ResponseStart::Whole(response) => {
                panic!("{at}: expected the beginning of a response, but it was {response:?}")
            }
        }
    }

    /// The next part of the response, and whether more follows.
    ///
    /// # Panics
    /// When it does not come, and when the body breaks off.
    #[track_caller]
    pub fn next_chunk(&mut self) -> impl Future<Output = (Bytes, bool)> {
        self.chunk_at(Location::caller())
    }

    async fn chunk_at(&mut self, at: &Location<'_>) -> (Bytes, bool) {
        let patience = self.request.patience;
        match self.application().receive_within(patience, "a part of a body", at).await {
            Outgoing::Body { chunk, more } => (chunk, more),
            Outgoing::Encoded(message) => {
                (Frame::from_message(&message).map(Frame::into_bytes).unwrap_or_default(), true)
            }
            Outgoing::Close(close) if close.code == Close::NORMAL => (Bytes::new(), false),
            other => panic!("{at}: expected a part of a body, but it was {other:?}"),
        }
    }

    /// Leaves without waiting for the response, and waits for the application to end.
    ///
    /// # Panics
    /// When it fails, or does not end.
    pub async fn disconnect(mut self) {
        let patience = self.request.patience;
        self.start().feed(Incoming::Disconnect(Close::ABNORMAL.into()));
        self.application().wait(patience).await.expect("the application ends well");
    }

    /// Sends the request, without waiting.
    pub async fn send_request(&mut self) {
        self.start();
    }

    /// Returns whether the application sends no output for this time.
    pub async fn receive_nothing(&mut self, time: Duration) -> bool {
        self.start().receive_nothing(time).await
    }

    /// Checks that nothing is sent, neither a response nor a part of one, like
    /// [`WebsocketCommunicator::refute_sent`](super::WebsocketCommunicator::refute_sent): a paused clock is not moved.
    ///
    /// # Panics
    /// When something is sent, and when tasks never come to rest.
    pub async fn refute_any_sent(&mut self) {
        let patience = self.request.patience;
        if let Some(output) = self.start().find_sent(patience, |_| true).await {
            panic!("{output:?} was sent");
        }
    }

    /// Waits for the application to end, and returns its outcome.
    ///
    /// # Errors
    /// Those of [`ApplicationCommunicator::wait`].
    pub async fn wait(&mut self) -> crate::Result<()> {
        let patience = self.request.patience;
        self.start().wait(patience).await
    }

    async fn begin(&mut self, at: &Location<'_>) -> ResponseStart {
        let patience = self.request.patience;
        match self.start().receive_within(patience, "a response", at).await {
            Outgoing::Head(head) if self.asks_for_head() || is_bodiless(head.status) => {
                // The application is told by the end of the connection, as by a server.
                self.start().feed(Incoming::Disconnect(Close::ABNORMAL.into()));
                self.whole(Refuse { headers: head.headers, ..head.status.into() })
            }
            Outgoing::Head(head) => ResponseStart::Head(head),
            Outgoing::Refuse(whole) => self.whole(whole),
            other => panic!("{at}: expected a response, but it was {other:?}"),
        }
    }

    fn asks_for_head(&self) -> bool {
        self.request.scope.method == Method::HEAD
    }

    fn whole(&self, whole: Refuse) -> ResponseStart {
        let body = whole.body.clone();
        let reply = without_body(whole.into(), self.asks_for_head());
        let body = if reply.body().is_end_stream() { Bytes::new() } else { body };
        ResponseStart::Whole(reply.map(|_| body))
    }

    fn start(&mut self) -> &mut ApplicationCommunicator {
        if self.running.is_none() {
            let mut running = self.host.open(self.request.scope.clone());
            let last = self.body.pop().unwrap_or_default();
            for chunk in self.body.drain(..) {
                running.feed(Incoming::HttpBody { chunk, more: true });
            }
            running.feed(Incoming::HttpBody { chunk: last, more: false });
            self.running = Some(running);
        }
        self.application()
    }

    fn application(&mut self) -> &mut ApplicationCommunicator {
        self.running.as_mut().expect("the request has been sent")
    }
}

enum ResponseStart {
    Head(Head),
    Whole(Response<Bytes>),
}

fn response(head: Head, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}
