//! The origin of this server's pages, as browsers see it. All comparisons of origins and hosts use it.

use std::{fmt, net::SocketAddr};

use http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};

use super::trusted::{ProxyStatement, TrustedProxies};
use crate::{
    middleware::web_origin::{WebOrigin, authority, canonical},
    scope::headers::single,
};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The origin that a request was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerOrigin {
    /// `http` or `https`; `None` if no trusted proxy has reported it.
    scheme: Option<&'static str>,
    host: Authority,
    port: OriginPort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OriginPort {
    Of(u16),
    /// The scheme's default, which browsers leave out of `Host`.
    Default,
    /// A proxy has forwarded a host without a port, and reported none. It may have removed the port, as nginx does with
    /// `proxy_set_header Host $host`.
    Unknown,
}

impl ServerOrigin {
    pub(crate) fn new(
        proxies: &TrustedProxies,
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Option<Self> {
        let Some(statement) = proxies.statement(peer, headers) else {
            let host = requested_host(headers, uri)?;
            let port = host.port_u16().map_or(OriginPort::Default, OriginPort::Of);
            return Some(Self { scheme: None, host, port });
        };
        let ProxyStatement { scheme, host: proxy_host, port: proxy_port } = statement;
        let is_reported = proxy_host.is_some();
        let host = match proxy_host {
            Some(host) => authority(&host)?,
            None => requested_host(headers, uri)?,
        };
        let port = match host.port_u16().or(proxy_port.filter(|port| !contradicts(scheme, *port))) {
            Some(port) => OriginPort::Of(port),
            None if is_reported || proxy_port.is_some() => OriginPort::Default,
            None => OriginPort::Unknown,
        };
        Some(Self { scheme, host, port })
    }

    /// The canonical host.
    pub(crate) fn host(&self) -> String {
        canonical(self.host.host())
    }

    /// Whether a page of this origin is one of the server's.
    pub(crate) fn is_of(&self, origin: &WebOrigin) -> bool {
        let scheme_fits = self.scheme.is_none_or(|scheme| scheme == origin.scheme);
        let port_fits = match self.port {
            OriginPort::Of(port) => origin.port() == Some(port),
            OriginPort::Default => origin.has_default_port(),
            OriginPort::Unknown => true,
        };
        origin.is_web() && scheme_fits && port_fits && origin.host() == self.host()
    }

    /// Returns the origin as a browser writes it. An unknown scheme is `https`, except on the local machine:
    /// elsewhere browsers send `Sec-Fetch-Site`, on which this depends, over TLS only.
    fn text(&self, uri: &Uri) -> String {
        let host = self.host();
        let is_local = host == "localhost"
            || host.ends_with(".localhost")
            || host.starts_with("127.")
            || host == "[::1]";
        let scheme = self.scheme.or(uri.scheme_str()).unwrap_or(if is_local { "http" } else { "https" });
        match self.port {
            OriginPort::Of(port) if !is_default_port(scheme, port) => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        }
    }
}

/// Shows `http(s)` for an unknown scheme and `*` for an unknown port. For logs.
impl fmt::Display for ServerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.unwrap_or("http(s)"), self.host())?;
        match self.port {
            OriginPort::Of(port) => write!(f, ":{port}"),
            OriginPort::Default => Ok(()),
            OriginPort::Unknown => f.write_str(":*"),
        }
    }
}

/// Returns the host that the request names.
fn requested_host(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    if !headers.contains_key(header::HOST) {
        return uri.authority().cloned();
    }
    authority(single(headers, header::HOST)?.to_str().ok()?)
}

fn is_default_port(scheme: &str, port: u16) -> bool {
    matches!((scheme, port), ("http", 80) | ("https", 443))
}

/// Whether the port contradicts the scheme. Some proxies behind a TLS terminator report the port that they listen at.
fn contradicts(scheme: Option<&str>, port: u16) -> bool {
    matches!((scheme, port), (Some("https"), 80) | (Some("http"), 443))
}

/// Returns the origin for a request without `Origin`. A browser sends none when a page reads from its own server, and says so
/// in `Sec-Fetch-Site`, which no page can set; every other page without an origin counts as `null`. `None` if the request
/// has an origin, or comes from a program.
pub(crate) fn unnamed(headers: &HeaderMap, seen: Option<&ServerOrigin>, uri: &Uri) -> Option<HeaderValue> {
    if headers.contains_key(header::ORIGIN) {
        return None;
    }
    let site = headers.get(SEC_FETCH_SITE)?;
    let origin = (site == "same-origin").then(|| {
        // No page can set `Referer` either. It has the value of `Origin`, also if a proxy hides the port.
        let referer = headers.get(header::REFERER).map(|referer| String::from_utf8_lossy(referer.as_bytes()));
        let referer = referer.and_then(|referer| page_of(&referer));
        HeaderValue::try_from(referer.or_else(|| Some(seen?.text(uri)))?).ok()
    });
    Some(origin.flatten().unwrap_or(HeaderValue::from_static("null")))
}

fn page_of(referer: &str) -> Option<String> {
    let (scheme, rest) = referer.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let origin = format!("{scheme}://{}", &rest[..end]);
    WebOrigin::parse(&origin).filter(WebOrigin::is_web).map(|_| origin)
}
