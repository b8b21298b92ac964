//! A plain HTTP request without a network.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer};
use http::{HeaderName, HeaderValue, Method, Response};

use super::{ApplicationCommunicator, PATIENCE, PEER};
use crate::{
    application::Application,
    frame::{Close, Frame},
    scope::{Protocol, Scope},
    wire::{Head, Incoming, Outgoing},
};

/// A client that sends one request to an application, in the same process.
pub struct HttpCommunicator {
    application: Arc<dyn Application>,
    layer: Arc<dyn ChannelLayer>,
    scope: Scope,
    body: Vec<Bytes>,
    patience: Duration,
    running: Option<ApplicationCommunicator>,
}

impl HttpCommunicator {
    /// A request with this method for `path`, which may have a query, with a channel layer of its own.
    ///
    /// # Panics
    /// When the method or the path is invalid.
    pub fn new(application: Arc<dyn Application>, method: &str, path: &str) -> Self {
        let mut scope = Scope::default();
        scope.peer = Some(PEER);
        scope.protocol = Protocol::Http;
        scope.method = Method::from_bytes(method.as_bytes()).expect("a method");
        scope.uri = path.parse().unwrap_or_else(|fault| panic!("path `{path}`: {fault}"));
        let layer = Arc::new(MemoryLayer::default());
        Self { application, layer, scope, body: Vec::new(), patience: PATIENCE, running: None }
    }

    /// Uses this layer.
    pub fn with_layer(mut self, layer: impl ChannelLayer) -> Self {
        self.layer = layer.into_shared();
        self
    }

    /// Adds a part of a body, which arrives by itself.
    pub fn with_body(mut self, chunk: impl Into<Bytes>) -> Self {
        self.body.push(chunk.into());
        self
    }

    /// Adds a header.
    ///
    /// # Panics
    /// When it is invalid.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap_or_else(|fault| panic!("header `{name}`: {fault}"));
        let value = HeaderValue::from_str(value).unwrap_or_else(|fault| panic!("header `{name}`: {fault}"));
        self.scope.headers.append(name, value);
        self
    }

    /// Waits at most this time instead of a second.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends the request and waits for the whole response.
    ///
    /// # Panics
    /// When it does not come, and when its body breaks off.
    pub async fn get_response(&mut self) -> Response<Bytes> {
        let (head, mut more, mut body) = match self.begin().await {
            ResponseStart::Head(head) => (head, true, BytesMut::new()),
            ResponseStart::Whole(response) => return response,
        };
        while more {
            let (chunk, further) = self.next_chunk().await;
            body.extend_from_slice(&chunk);
            more = further;
        }
        response(head, body.freeze())
    }

    /// Sends the request, and waits for the beginning of the response; [`next_chunk`](Self::next_chunk) has the rest.
    ///
    /// # Panics
    /// When it does not come, and for a response that is whole at once.
    pub async fn get_headers(&mut self) -> Head {
        match self.begin().await {
            ResponseStart::Head(head) => head,
            ResponseStart::Whole(response) => {
                panic!("expected the beginning of a response, but it was {response:?}")
            }
        }
    }

    /// The next part of the response, and whether more follows.
    ///
    /// # Panics
    /// When it does not come, and when the body breaks off.
    pub async fn next_chunk(&mut self) -> (Bytes, bool) {
        let patience = self.patience;
        match self.application().receive_within(patience).await {
            Outgoing::Body { chunk, more } => (chunk, more),
            Outgoing::Encoded(message) => {
                (Frame::from_message(&message).map(Frame::into_bytes).unwrap_or_default(), true)
            }
            Outgoing::Close(close) if close.code == Close::NORMAL => (Bytes::new(), false),
            other => panic!("expected a part of a body, but it was {other:?}"),
        }
    }

    /// Leaves without waiting for the response, and waits for the application to end.
    ///
    /// # Panics
    /// When it fails, or does not end.
    pub async fn disconnect(mut self) {
        let patience = self.patience;
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

    /// Waits for the application to end, and returns its outcome.
    ///
    /// # Errors
    /// Those of [`ApplicationCommunicator::wait`].
    pub async fn wait(&mut self) -> crate::Result<()> {
        let patience = self.patience;
        self.start().wait(patience).await
    }

    async fn begin(&mut self) -> ResponseStart {
        let patience = self.patience;
        match self.start().next_output(patience).await {
            Some(Outgoing::Head(head)) => ResponseStart::Head(head),
            Some(Outgoing::Refuse(whole)) => {
                let mut head = Head::from(whole.status);
                head.headers = whole.headers;
                ResponseStart::Whole(response(head, whole.body))
            }
            other => panic!("expected a response, but it was {other:?}"),
        }
    }

    fn start(&mut self) -> &mut ApplicationCommunicator {
        if self.running.is_none() {
            let scope = self.scope.clone();
            let mut running = ApplicationCommunicator::new(&*self.application, scope, self.layer.clone());
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
