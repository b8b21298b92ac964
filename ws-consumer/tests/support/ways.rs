//! The transports of a service, with the same client over each.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, request::Builder};
use http_body_util::Full;
use tower_service::Service;
use ws_consumer::{NotFound, Peer, SocketService};

/// The transport of a client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    WebSocket,
    /// A WebSocket that carries a session.
    Session,
    EventStream,
    LongPoll,
    Poll,
    /// A request that an application answers.
    Post,
}

impl Way {
    pub const SOCKETS: [Self; 5] =
        [Self::WebSocket, Self::Session, Self::EventStream, Self::LongPoll, Self::Poll];
    pub const ALL: [Self; 6] =
        [Self::WebSocket, Self::Session, Self::EventStream, Self::LongPoll, Self::Poll, Self::Post];

    fn begin(self, path: &str) -> (Builder, &'static str) {
        let handshake = || {
            Request::get(path)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        };
        let poll = || Request::post(path).header("content-type", "application/x-ndjson");
        match self {
            Self::WebSocket => (handshake(), ""),
            Self::Session => (handshake().header("sec-websocket-protocol", "channels.v1"), ""),
            Self::EventStream => (Request::get(path).header("accept", "text/event-stream"), ""),
            Self::LongPoll => (poll(), "{\"mode\":\"long-poll\"}\n"),
            Self::Poll => (poll(), "{\"mode\":\"poll\"}\n"),
            Self::Post => (Request::post(path), ""),
        }
    }

    /// A page's request, as its browser sends it: what only reads from its own server names no origin.
    pub fn of_page(self, path: &str, origin: &str) -> Builder {
        let (request, _) = self.begin(path);
        match self {
            Self::EventStream => {
                request.header("sec-fetch-site", "same-origin").header("referer", format!("{origin}/page"))
            }
            _ => request.header("origin", origin),
        }
    }

    /// The status of the answer; `headers` are added to `request`. Every kind of acceptance counts as 200.
    pub async fn status_of(
        self,
        service: &SocketService<NotFound>,
        peer: Option<&str>,
        request: Builder,
        headers: &[(&'static str, &[u8])],
    ) -> u16 {
        match self.answer(service, peer, request, headers).await.status().as_u16() {
            101 | 204 => 200,
            other => other,
        }
    }

    pub async fn answer(
        self,
        service: &SocketService<NotFound>,
        peer: Option<&str>,
        mut request: Builder,
        headers: &[(&'static str, &[u8])],
    ) -> Response<()> {
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value).expect("a header's value"));
        }
        if let Some(peer) = peer {
            request = request.extension(Peer(peer.parse().expect("an address")));
        }
        let body = Full::new(Bytes::from_static(self.begin("/").1.as_bytes()));
        let request = request.body(body).expect("a request");
        let answered = service.clone().call(request).await.unwrap_or_else(|never| match never {});
        answered.map(|_| ())
    }

    /// The status for a program, which names no origin by itself.
    pub async fn status(
        self,
        service: &SocketService<NotFound>,
        peer: Option<&str>,
        path: &str,
        headers: &[(&'static str, &[u8])],
    ) -> u16 {
        self.status_of(service, peer, self.begin(path).0, headers).await
    }
}
