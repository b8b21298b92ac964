//! Sessions: connections of consumers that outlive what carries them. [The protocol](crate::docs::transports) tells what goes
//! over the wire.
//!
//! A session is a task that runs the application behind its `Wire` and keeps what was sent in a log, by number, until the
//! client has it. Legs (a WebSocket, an event stream, a chain of polls) take from the log and hand in what the client says;
//! one at a time, the newest counts.

mod config;
mod control;
mod directory;
mod events;
mod inbox;
mod inner;
mod leg;
mod lines;
mod log;
mod post;
mod remote;
mod screen;
mod state;
mod stay;
mod task;
mod token;
mod websocket;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use hyper::body::Body;

pub use self::config::Transports;
pub(crate) use self::{
    directory::{Directory, Parts},
    websocket::is_offered,
};
use super::http::{Reply, scope as plain_scope};
use crate::{
    error::BoxError,
    scope::{Protocol, Scope, Transport},
    socket::Socket,
    wire::Running,
};

/// Is it a request of a session, over plain HTTP?
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is = |text: &str, wanted: &str| {
        text.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
    };
    match *request.method() {
        // Exactly: a foreign page may send some types without asking first, with parameters of its own making.
        Method::POST => is(header(header::CONTENT_TYPE), "application/x-ndjson"),
        Method::GET => header(header::ACCEPT).split(',').any(|kind| is(kind, "text/event-stream")),
        _ => false,
    }
}

/// As the application is to see it: as a WebSocket.
pub(crate) fn scope<B>(request: &Request<B>) -> Scope {
    let mut scope = plain_scope(request);
    scope.protocol = Protocol::WebSocket;
    scope.method = Method::GET;
    scope.transport = Transport::EventStream;
    name_host(&mut scope);
    if let Some(protocol) = asked_protocol(&scope) {
        scope.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    own_origin(&mut scope.headers);
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

fn asked_protocol(scope: &Scope) -> Option<HeaderValue> {
    let pairs = scope.uri.query()?.split('&');
    let asked = pairs.filter_map(|pair| pair.strip_prefix("protocol=")).next()?;
    HeaderValue::from_str(asked).ok()
}

/// A browser names no origin when a page only reads from its own server, where a WebSocket always does. It says so in another
/// header then, which no page can set; anything else without an origin must not pass for a program.
fn own_origin(headers: &mut HeaderMap) {
    if headers.contains_key(header::ORIGIN) {
        return;
    }
    let Some(site) = headers.get("sec-fetch-site").map(HeaderValue::as_bytes) else { return };
    let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes() == b"https");
    // What the browser has asked for, before a proxy changed it.
    let asked = headers.get_all("x-forwarded-host").iter().next_back().and_then(|hosts| hosts.to_str().ok());
    let asked =
        asked.and_then(|hosts| hosts.rsplit(',').next()).map(str::trim).filter(|host| !host.is_empty());
    let host = asked.or_else(|| headers.get(header::HOST)?.to_str().ok());
    let own = match (site, host) {
        (b"same-origin", Some(host)) => format!("http{}://{host}", if secure { "s" } else { "" }),
        _ => "null".to_owned(),
    };
    if let Ok(origin) = HeaderValue::try_from(own) {
        headers.insert(header::ORIGIN, origin);
    }
}

impl Directory {
    /// Answers a request over plain HTTP.
    pub(crate) async fn serve<B>(self, scope: Scope, request: Request<B>) -> Reply
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        if *request.method() == Method::POST {
            return self.post(scope, request.into_body()).await;
        }
        drop(request);
        self.events(scope).await
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
        let of = |host: &str| (Some(host.to_owned()), Some(format!("http://{host}")));
        assert_eq!(host(request("https://a:8000/x")), of("a:8000"));
        assert_eq!(host(request("https://a/x").header("host", "b")), of("b"));
        assert_eq!(host(request("/x")), (None, Some("null".to_owned())));
    }

    #[test]
    fn only_a_browser_says_that_a_page_is_ones_own() {
        let origin = |site: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("a:8000"));
            if let Some(site) = site {
                headers.insert("sec-fetch-site", HeaderValue::from_str(site).unwrap());
            }
            own_origin(&mut headers);
            headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap().to_owned())
        };
        assert_eq!(origin(Some("same-origin")).as_deref(), Some("http://a:8000"));
        assert_eq!(origin(Some("cross-site")).as_deref(), Some("null"));
        assert_eq!(origin(Some("none")).as_deref(), Some("null"));
        assert_eq!(origin(None), None);
    }

    #[test]
    fn a_page_behind_a_proxy_is_of_the_host_that_its_browser_asked_for() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "10.0.0.7:8000"),
            ("x-forwarded-host", "evil.example, chat.example"),
            ("x-forwarded-proto", "https"),
            ("sec-fetch-site", "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        own_origin(&mut headers);
        assert_eq!(headers.get(header::ORIGIN).unwrap(), "https://chat.example");
    }
}
