//! Sessions: connections of consumers that outlive what carries them. [The protocol](crate::docs::transports) tells what goes
//! over the wire.
//!
//! A session is a task that runs the application behind its `Wire` and keeps what was sent in a log, by number, until the
//! client has it. Legs (a WebSocket, an event stream, a chain of polls) take from the log and hand in what the client says;
//! one at a time, the newest counts.

mod admission;
mod admitted;
mod carrier;
mod config;
mod endpoints;
mod forward;
mod inbox;
mod inner;
mod lifetime;
mod log;
mod ndjson;
mod offers;
mod profiles;
mod protocol;
mod reading;
mod registry;
mod service;
mod state;
mod task;
mod token;

use std::net::IpAddr;

use bytes::Bytes;
use http::{Extensions, HeaderValue, Method, Request, header};
use hyper::body::Body;

pub use self::config::Resume;
pub(crate) use self::{
    endpoints::websocket::is_offered,
    profiles::CARRIER,
    service::{Directory, Parts},
};
use crate::transport::request::{Reply, scope as plain_scope};
use crate::{
    error::BoxError,
    middleware::name_origin,
    scope::{Protocol, Scope, Stalled, Transport, customer},
    socket::Socket,
    wire::Running,
};

/// Is it a request of a session, over plain HTTP?
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let is = |item: &[u8], wanted: &str| {
        let kind = item.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
    };
    let headers = request.headers();
    match *request.method() {
        // Exactly: a foreign page may send some types without asking first, with parameters of its own making.
        Method::POST => {
            let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
            is(kind, "application/x-ndjson")
        }
        // A list of one or more lines, whose other items may hold bytes that are no text.
        Method::GET => {
            let lines = headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes);
            lines.flat_map(|line| line.split(|byte| *byte == b',')).any(|kind| is(kind, "text/event-stream"))
        }
        _ => false,
    }
}

/// The address whose share a client's sessions count for.
fn address(scope: &Scope) -> Option<IpAddr> {
    scope.client().map(customer)
}

/// As the application is to see it: as a WebSocket.
pub(crate) fn scope<B>(request: &Request<B>) -> Scope {
    let mut scope = plain_scope(request);
    scope.protocol = Protocol::WebSocket;
    scope.method = Method::GET;
    scope.transport = Transport::EventStream;
    name_host(&mut scope);
    offers::take(&mut scope);
    name_origin(&mut scope);
    scope
}

/// HTTP/2 names the host in the URI. Who looks for it in the headers is to find it, as with a WebSocket.
fn name_host(scope: &mut Scope) {
    let Some(authority) = scope.uri.authority().filter(|_| !scope.headers.contains_key(header::HOST)) else {
        return;
    };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        scope.headers.insert(header::HOST, host);
    }
}

impl Directory {
    /// Answers a request over plain HTTP.
    pub(crate) async fn serve<B>(self, mut scope: Scope, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let stalled = scope.extensions.remove::<Stalled>().unwrap_or_default();
        if scope.extensions.is_empty() {
            scope.extensions = Extensions::new(); // the session would keep the empty table
        }
        if *request.method() == Method::POST {
            return self.post(scope, request.into_body()).await;
        }
        drop(request);
        self.events(scope, stalled).await
    }

    /// The application behind a WebSocket that offers the subprotocol.
    pub(crate) fn carrier(&self, socket: Socket) -> Running {
        Box::pin(self.clone().carry(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, name: &str, value: &str) -> Request<()> {
        Request::builder().method(method).uri("/x?protocol=chat.v2").header(name, value).body(()).unwrap()
    }

    #[test]
    fn requests_of_sessions_are_told_by_what_they_carry() {
        assert!(is_asked_for(&request("POST", "content-type", "application/x-ndjson; charset=utf-8")));
        assert!(is_asked_for(&request("GET", "accept", "text/html, text/event-stream;q=0.9")));
        for other in
            ["application/json", "text/plain; application/x-ndjson", "text/plain, application/x-ndjson"]
        {
            assert!(!is_asked_for(&request("POST", "content-type", other)));
        }
        assert!(!is_asked_for(&request("GET", "content-type", "application/x-ndjson")));
        for lines in [&[&b"text/html"[..], b"text/event-stream"][..], &[b"x/\xe9, Text/Event-Stream"]] {
            let mut request = request("GET", "host", "a");
            for line in lines {
                request.headers_mut().append(header::ACCEPT, HeaderValue::from_bytes(line).unwrap());
            }
            assert!(is_asked_for(&request), "{lines:?}");
        }
    }

    #[test]
    fn the_application_sees_a_websocket() {
        let scope = scope(&request("POST", "host", "a"));
        assert_eq!((scope.protocol, &scope.method), (Protocol::WebSocket, &Method::GET));
        assert_eq!(scope.subprotocols().collect::<Vec<_>>(), ["chat.v2"]);
    }

    #[test]
    fn the_host_is_in_the_headers_wherever_it_came_from() {
        let request = |uri: &str| Request::get(uri).header("sec-fetch-site", "same-origin");
        let host = |request: http::request::Builder| {
            let scope = scope(&request.body(()).unwrap());
            (scope.header("host").map(str::to_owned), scope.header("origin").map(str::to_owned))
        };
        let of = |host: &str| (Some(host.to_owned()), Some(format!("https://{host}")));
        assert_eq!(host(request("https://a:8000/x")), of("a:8000"));
        assert_eq!(host(request("https://a/x").header("host", "b")), of("b"));
        assert_eq!(host(request("/x")), (None, Some("null".to_owned())));
    }

    #[test]
    fn only_a_browser_says_that_a_page_is_ones_own() {
        let origin = |lines: &[(&str, &str)]| {
            let request =
                lines.iter().fold(Request::get("/x"), |request, (name, value)| request.header(*name, *value));
            scope(&request.body(()).unwrap()).header("origin").map(str::to_owned)
        };
        let (host, own) = (("host", "a:8000"), ("sec-fetch-site", "same-origin"));
        let null = Some("null".to_owned());
        assert_eq!(origin(&[host, own]).as_deref(), Some("https://a:8000"));
        assert_eq!(origin(&[("host", "localhost:8000"), own]).as_deref(), Some("http://localhost:8000"));
        assert_eq!(origin(&[host, own, ("referer", "http://b:1/x?y")]).as_deref(), Some("http://b:1"));
        assert_eq!(origin(&[host, own, ("referer", "http://b:1/caf\u{e9}")]).as_deref(), Some("http://b:1"));
        assert_eq!(origin(&[host, own, ("referer", "ftp://b/")]).as_deref(), Some("https://a:8000"));
        assert_eq!(origin(&[host, ("sec-fetch-site", "cross-site"), ("referer", "http://a:8000/")]), null);
        assert_eq!(origin(&[host, ("sec-fetch-site", "none")]), null);
        assert_eq!(origin(&[host, ("referer", "http://a:8000/")]), None);
        let told = [("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "http")];
        assert_eq!(origin(&[host, own, told[0], told[1]]).as_deref(), Some("https://a:8000"), "not trusted");
    }
}
