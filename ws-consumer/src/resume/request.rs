//! Requests of sessions over plain HTTP, which applications see as WebSockets.

use std::net::IpAddr;

use http::{HeaderValue, Method, Request, header};
use percent_encoding::percent_decode_str;

use crate::{
    middleware::name_origin,
    scope::{Protocol, Scope, Transport, counted_address, with_query},
    transport::request::scope as plain_scope,
};

/// Whether a plain request is one of a session.
pub(crate) fn is_session_request<B>(request: &Request<B>) -> bool {
    let is = |item: &[u8], wanted: &str| {
        let kind = item.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
    };
    let headers = request.headers();
    match *request.method() {
        // The exact type: a foreign page may send some types, with any parameters, without a preflight request.
        Method::POST => {
            let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
            is(kind, "application/x-ndjson")
        }
        // A list in one or more lines, whose other items may contain bytes that are no text.
        Method::GET => {
            let lines = headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes);
            lines.flat_map(|line| line.split(|byte| *byte == b',')).any(|kind| is(kind, "text/event-stream"))
        }
        _ => false,
    }
}

/// The scope for the application: that of a WebSocket.
pub(crate) fn scope<B>(request: &Request<B>) -> Scope {
    let mut scope = plain_scope(request);
    scope.protocol = Protocol::WebSocket;
    scope.method = Method::GET;
    scope.transport = Transport::EventStream;
    name_host(&mut scope);
    take_subprotocols(&mut scope);
    name_origin(&mut scope);
    scope
}

/// The address whose share a client's sessions count for.
pub(super) fn address(scope: &Scope) -> Option<IpAddr> {
    scope.client().map(counted_address)
}

/// Copies the host of an HTTP/2 request, which is in the URI, into the header that a WebSocket has.
fn name_host(scope: &mut Scope) {
    let Some(authority) = scope.uri.authority().filter(|_| !scope.headers.contains_key(header::HOST)) else {
        return;
    };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        scope.headers.insert(header::HOST, host);
    }
}

/// Moves the subprotocols that the query offers, `?protocol=NAME` once for each, into the header that a WebSocket has for
/// them. They may contain a token, and so are removed from the URI.
fn take_subprotocols(scope: &mut Scope) {
    let Some(query) = scope.uri.query() else { return };
    let (mut offers, mut rest) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        match pair.strip_prefix("protocol=") {
            Some(names) => offers.extend(parse_names(names)),
            None => rest.push(pair),
        }
    }
    if offers.is_empty() {
        return;
    }
    let Ok(offer) = HeaderValue::try_from(offers.join(", ")) else { return };
    let uri = with_query(&scope.uri, &rest.join("&"));
    scope.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offer);
    scope.uri = uri.unwrap_or_else(|| scope.uri.clone());
}

/// Parses the names of one parameter like a line of the header. Only malformed names are left out. A `+` is not a blank: no
/// name contains one.
fn parse_names(names: &str) -> Vec<String> {
    let names = percent_decode_str(names).decode_utf8_lossy();
    names.split(',').map(str::trim).filter(|name| is_token(name)).map(str::to_owned).collect()
}

/// Whether `name` is a token of RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, name: &str, value: &str) -> Request<()> {
        Request::builder().method(method).uri("/x?protocol=chat.v2").header(name, value).body(()).unwrap()
    }

    #[test]
    fn session_requests_are_recognised() {
        assert!(is_session_request(&request("POST", "content-type", "application/x-ndjson; charset=utf-8")));
        assert!(is_session_request(&request("GET", "accept", "text/html, text/event-stream;q=0.9")));
        for other in
            ["application/json", "text/plain; application/x-ndjson", "text/plain, application/x-ndjson"]
        {
            assert!(!is_session_request(&request("POST", "content-type", other)));
        }
        assert!(!is_session_request(&request("GET", "content-type", "application/x-ndjson")));
        for lines in [&[&b"text/html"[..], b"text/event-stream"][..], &[b"x/\xe9, Text/Event-Stream"]] {
            let mut request = request("GET", "host", "a");
            for line in lines {
                request.headers_mut().append(header::ACCEPT, HeaderValue::from_bytes(line).unwrap());
            }
            assert!(is_session_request(&request), "{lines:?}");
        }
    }

    #[test]
    fn the_scope_is_a_websocket() {
        let scope = scope(&request("POST", "host", "a"));
        assert_eq!((scope.protocol, &scope.method), (Protocol::WebSocket, &Method::GET));
        assert_eq!(scope.subprotocols().collect::<Vec<_>>(), ["chat.v2"]);
    }

    #[test]
    fn the_host_becomes_a_header() {
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
    fn only_browsers_name_the_origin() {
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

    #[test]
    fn queries_offer_like_headers() {
        for (uri, offers, rest) in [
            ("/x?protocol=v3.chat&protocol=v2.chat", &["v3.chat", "v2.chat"][..], "/x"),
            ("/x?protocol=chat%2Bjson", &["chat+json"], "/x"),
            ("/x?protocol=chat+json", &["chat+json"], "/x"),
            ("/x?a=1&protocol=v1&b=%20", &["v1"], "/x?a=1&b=%20"),
            ("/x?protocol=v2,%20v1", &["v2", "v1"], "/x"),
            ("/x?protocol=v%31", &["v1"], "/x"),
            ("/x?protocol=a%20b&protocol=%E6%B1%89&protocol=&protocol=v1", &["v1"], "/x"),
            ("/x?protocol=a%0d%0ax:b", &[], "/x?protocol=a%0d%0ax:b"),
            ("/x?protocols=v1", &[], "/x?protocols=v1"),
            ("http://a/x?protocol=v1", &["v1"], "http://a/x"),
            ("/x", &[], "/x"),
        ] {
            let mut scope = Scope::from_request(&mut Request::get(uri).body(()).unwrap());
            take_subprotocols(&mut scope);
            assert_eq!(scope.subprotocols().collect::<Vec<_>>(), offers, "{uri}");
            assert_eq!(scope.uri, rest, "{uri}");
        }
    }
}
