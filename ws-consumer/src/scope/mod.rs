//! The request that opened a connection.

mod address;
pub(crate) mod headers;
mod params;
mod query;
mod state;

use std::{
    borrow::Cow,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, de::DeserializeOwned};

pub(crate) use self::{address::counted_address, query::parse_form};
pub use self::{query::QueryError, state::MissingStateError};
use crate::error::{Error, Result};

/// The request that opened the connection, and the findings of routers and middleware.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Scope {
    /// The client's protocol.
    pub protocol: Protocol,
    /// The transport of the connection.
    pub transport: Transport,
    /// The request's method. `GET` for a WebSocket.
    pub method: Method,
    /// The requested URI.
    pub uri: Uri,
    /// The request's headers, without those that only make it a WebSocket handshake.
    pub headers: HeaderMap,
    /// The other end of the connection, where the server knows it.
    pub peer: Option<SocketAddr>,
    /// Values stored by middleware and by the HTTP stack in front, by type.
    pub extensions: Extensions,
    params: Vec<(Arc<str>, Box<str>)>,
    /// The start of the part of the path that routers have not consumed.
    mount: usize,
    /// Computed on first use, for paths with escapes.
    decoded: OnceLock<Box<DecodedPath>>,
}

/// A raw path and its decoded text.
#[derive(Clone)]
struct DecodedPath {
    raw: Box<str>,
    text: Box<str>,
}

/// The id of a client's user, stored in the extensions by authentication. Middleware that knows no user type reads it.
///
/// A connection whose scope has one when it is accepted is identified as that user's: see
/// [`UsersExt`](crate::UsersExt) and [`NoIdentify`](crate::middleware::NoIdentify).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId(pub Arc<str>);

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// Plain HTTP: a request with one response.
    Http,
    /// A WebSocket.
    #[default]
    WebSocket,
}

/// The transport of a connection. All but [`Http`](Self::Http) look the same to an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A stream of server-sent events, and a request for each batch of frames from the client.
    EventStream,
    /// A plain request with one response.
    Http,
    /// Requests that wait until there are frames to send.
    LongPoll,
    /// Periodic requests.
    Poll,
    /// A WebSocket.
    #[default]
    WebSocket,
}

impl Transport {
    pub(crate) const ALL: [Self; 5] =
        [Self::EventStream, Self::Http, Self::LongPoll, Self::Poll, Self::WebSocket];

    /// The name used in logs and between processes.
    pub fn name(self) -> &'static str {
        match self {
            Self::EventStream => "event-stream",
            Self::Http => "http",
            Self::LongPoll => "long-poll",
            Self::Poll => "poll",
            Self::WebSocket => "websocket",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.name() == name)
    }

    /// Whether the connection lasts once it has begun.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::EventStream | Self::WebSocket)
    }
}

/// The other end of a connection. The server that accepted it puts it into a request's extensions. With the
/// feature `axum`, axum's `ConnectInfo<SocketAddr>` counts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Returns the other end of a request's connection, if the server that accepted it has set it.
pub(crate) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let ours = extensions.get::<Peer>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let ours = ours.or_else(|| Some(extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()?.0));
    ours
}

/// Hands the other end of the connection to a plain HTTP service in the form that axum's extractor knows.
#[cfg(feature = "axum")]
pub(crate) fn insert_connect_info(extensions: &mut Extensions) {
    use axum::extract::ConnectInfo;
    if let Some(Peer(peer)) = extensions.get().copied()
        && extensions.get::<ConnectInfo<SocketAddr>>().is_none()
    {
        extensions.insert(ConnectInfo(peer));
    }
}

/// Returns the URI that the client has sent, for a request's. axum shortens that of a nested service.
pub(crate) fn original_uri<'a>(
    #[cfg_attr(not(feature = "axum"), allow(unused))] extensions: &'a Extensions,
    uri: &'a Uri,
) -> &'a Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    uri
}

/// Whether a connection's client has not read its response for too long. The server puts it into the extensions of the
/// connection's requests. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalled(Arc<AtomicBool>);

impl Stalled {
    pub(crate) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Scope {
    /// Creates a scope from a request. The headers are copied: as received, they would keep the whole read buffer alive
    /// until the connection ends.
    pub fn from_request<B>(request: &mut Request<B>) -> Self {
        let mut extensions = std::mem::take(request.extensions_mut());
        let peer = peer(&extensions);
        extensions.remove::<Peer>();
        if extensions.is_empty() {
            extensions = Extensions::new(); // an emptied map keeps its table
        }
        Self {
            protocol: Protocol::WebSocket,
            transport: Transport::WebSocket,
            method: request.method().clone(),
            uri: copy_uri(request.uri()),
            headers: copy_headers(request.headers()),
            peer,
            extensions,
            params: Vec::new(),
            mount: 0,
            decoded: OnceLock::new(),
        }
    }

    /// Returns a copy with another path, or `None` if the text is no path.
    pub(crate) fn moved_to(&self, path: &str) -> Option<Self> {
        let uri = path.parse().ok()?;
        Some(Self { uri, params: Vec::new(), mount: 0, decoded: OnceLock::new(), ..self.clone() })
    }

    /// The percent-decoded path, as `path` in ASGI. Invalid UTF-8 becomes U+FFFD, and encoded slashes look like others:
    /// routers use [`raw_path`](Self::raw_path).
    pub fn path(&self) -> &str {
        let raw = self.raw_path();
        if !raw.contains('%') {
            return raw;
        }
        let decoded = self.decoded.get_or_init(|| {
            let text = percent_decode_str(raw).decode_utf8_lossy().into();
            Box::new(DecodedPath { raw: raw.into(), text })
        });
        // The URI may have been replaced in the meantime.
        if *decoded.raw == *raw { &decoded.text } else { raw }
    }

    /// The percent-encoded path as received, as `raw_path` in ASGI.
    pub fn raw_path(&self) -> &str {
        self.uri.path()
    }

    /// Drops the decoded path. For callers that replace the URI.
    pub(crate) fn forget_path(&mut self) {
        self.decoded = OnceLock::new();
    }

    /// A parameter from the URL pattern, percent-decoded.
    ///
    /// # Errors
    /// [`Other`](Error::Other) when the pattern has no parameter of this name: a mistake of the server.
    pub fn param(&self, name: &str) -> Result<&str> {
        let found = self.params.iter().find(|(known, _)| &**known == name);
        found
            .map(|(_, value)| &**value)
            .ok_or_else(|| Error::other(format!("the route has no parameter `{name}`")))
    }

    /// Deserializes the parameters from the URL pattern: a struct takes them by name, a tuple by position, and a number, a
    /// string or another type with a text form takes the only one.
    ///
    /// ```
    /// # use ws_consumer::{Result, Socket};
    /// #[derive(serde::Deserialize)]
    /// struct Page { book: String, page: u32 }
    ///
    /// # async fn hook(socket: &mut Socket) -> Result<()> {
    /// let Page { book, page } = socket.scope().params()?;
    /// let (book, page): (&str, u32) = socket.scope().params()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) when they do not fit.
    pub fn params<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        params::parse(&self.params).map_err(|fault| Error::bad_input(fault.to_string()))
    }

    /// The names and texts of all parameters from the URL pattern, in its order.
    pub fn param_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The first value of this name in the URL's query, decoded; empty for a name without a value.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The names and values of the URL's query, decoded, in its order. Invalid UTF-8 becomes U+FFFD.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes())
    }

    /// Deserializes the URL's query into a struct or a map. A name that occurs several times fills a `Vec`.
    ///
    /// ```
    /// # use ws_consumer::{Result, Socket};
    /// #[derive(serde::Deserialize)]
    /// struct Search { q: String, page: Option<u32>, #[serde(default)] tag: Vec<String> }
    ///
    /// # async fn hook(socket: &mut Socket) -> Result<()> {
    /// let Search { q, page, tag } = socket.scope().query_as()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) with a [`QueryError`] when it does not fit: the client reads its text, with 400.
    pub fn query_as<T: DeserializeOwned>(&self) -> Result<T> {
        query::parse_form("query", self.uri.query().unwrap_or_default().as_bytes())
    }

    /// Adds a parameter, or replaces the one of this name. Used by routers.
    pub fn push_param(&mut self, name: Arc<str>, value: impl Into<Box<str>>) {
        let value = value.into();
        if let Some((_, known)) = self.params.iter_mut().find(|(known, _)| *known == name) {
            *known = value;
            return;
        }
        self.params.reserve_exact(1); // there are few, and they live as long as the connection
        self.params.push((name, value));
    }

    /// The part of the percent-encoded path that is left for a router behind a prefix. At first the whole path.
    pub fn remaining(&self) -> &str {
        &self.raw_path()[self.mount..]
    }

    /// The approximate memory use in bytes.
    pub(crate) fn weight(&self) -> usize {
        // An entry of the header map and of its name table.
        const HEADER: usize = 128;
        let headers = self.headers.iter().map(|(name, value)| HEADER + name.as_str().len() + value.len());
        let query = self.uri.query().map_or(0, str::len);
        size_of::<Self>() + 2 * self.path().len() + query + headers.sum::<usize>()
    }

    pub(crate) fn mount(&self) -> usize {
        self.mount
    }

    pub(crate) fn set_mount(&mut self, mount: usize) {
        self.mount = mount;
    }

    /// Returns a copy whose remaining path begins at `mount`.
    pub(crate) fn mounted_at(&self, mount: usize) -> Self {
        Self { mount, ..self.clone() }
    }

    /// The value of a header that occurs exactly once and is visible ASCII.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        headers::single(&self.headers, name)?.to_str().ok()
    }

    /// The id of the last event that a client of an event stream received before it came back.
    pub fn last_event_id(&self) -> Option<&str> {
        self.header("last-event-id")
    }

    /// The subprotocols offered by the client, in its order.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        headers::items(&self.headers, header::SEC_WEBSOCKET_PROTOCOL)
    }
}

/// Shows the names of the headers only, and no query: values are often secrets, and scopes end up in logs.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Scope")
            .field("protocol", &self.protocol)
            .field("transport", &self.transport)
            .field("method", &self.method)
            .field("path", &self.raw_path())
            .field("headers", &headers)
            .field("peer", &self.peer)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

fn copy_uri(uri: &Uri) -> Uri {
    Uri::try_from(uri.to_string()).unwrap_or_default()
}

/// Copies all values into one allocation, into a map of the exact size.
fn copy_headers(headers: &HeaderMap) -> HeaderMap {
    let kept = || headers.iter().filter(|(name, _)| !HANDSHAKE.contains(name));
    let mut all = BytesMut::with_capacity(kept().map(|(_, value)| value.len()).sum());
    kept().for_each(|(_, value)| all.extend_from_slice(value.as_bytes()));
    let all = all.freeze();
    let mut copy = HeaderMap::with_capacity(kept().count());
    let mut at = 0;
    for (name, value) in kept() {
        copy.append(name, slice(&all, at, value.len()));
        at += value.len();
    }
    copy
}

/// The headers of the handshake. They hold no information about the client, and would stay in memory with every connection.
const HANDSHAKE: [HeaderName; 5] = [
    header::CONNECTION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::UPGRADE,
];

fn slice(all: &Bytes, at: usize, len: usize) -> HeaderValue {
    HeaderValue::from_maybe_shared(all.slice(at..at + len)).expect("was a header's value before")
}

/// Replaces the query of a URI. `None` if the result is no URI.
pub(crate) fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let path = if query.is_empty() { uri.path().to_owned() } else { format!("{}?{query}", uri.path()) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_headers_but_the_handshakes() {
        let mut request = Request::get("/x?y=1")
            .header("a", "1")
            .header("b", "2")
            .header("a", "3")
            .header("upgrade", "websocket");
        request = request.extension(Peer(([127, 0, 0, 1], 9).into()));
        let scope = Scope::from_request(&mut request.body(()).unwrap());
        assert_eq!(scope.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(scope.header("b"), Some("2"));
        assert_eq!(scope.header("upgrade"), None);
        assert_eq!(scope.header("a"), None, "not once");
        assert_eq!((scope.path(), scope.uri.query()), ("/x", Some("y=1")));
        assert_eq!(scope.peer.unwrap().port(), 9);
    }

    #[test]
    fn paths_are_raw_and_decoded() {
        for (raw, path) in [
            ("/plain", "/plain"),
            ("/a%20b/", "/a b/"),
            ("/%E6%B1%89", "/\u{6c49}"),
            ("/a%2Fb", "/a/b"),
            ("/%2525", "/%25"),
            ("/a+b", "/a+b"),
            ("/%ff", "/\u{fffd}"),
            ("/100%", "/100%"),
            ("/%zz", "/%zz"),
            ("/a%20b?c=%20", "/a b"),
        ] {
            let scope = Scope::from_request(&mut Request::get(raw).body(()).unwrap());
            let raw = raw.split('?').next().unwrap();
            assert_eq!((scope.raw_path(), scope.path()), (raw, path));
            let moved = scope.moved_to("/b%20c").unwrap();
            assert_eq!((moved.raw_path(), moved.path()), ("/b%20c", "/b c"));
        }
        let mut scope = Scope::from_request(&mut Request::get("/a%20b").body(()).unwrap());
        assert_eq!(scope.path(), "/a b");
        scope.uri = Uri::from_static("/c%20d");
        assert_eq!(scope.path(), "/c%20d", "never that of another URI");
        scope.forget_path();
        assert_eq!(scope.path(), "/c d");
    }

    #[test]
    fn debug_hides_secrets() {
        let mut request = Request::get("/room?token=canary").header("cookie", "a=canary").body(()).unwrap();
        let shown = format!("{:?}", Scope::from_request(&mut request));
        assert!(shown.contains("/room") && shown.contains("cookie") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn subprotocols_keep_their_order() {
        let request =
            Request::get("/").header("sec-websocket-protocol", "a, b").header("sec-websocket-protocol", "c");
        let scope = Scope::from_request(&mut request.body(()).unwrap());
        assert_eq!(scope.subprotocols().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
