//! The origin that a page of this server has, as its browser sees it. Everything that compares a page's origin, or the host
//! that was asked for, takes it from here.

use std::{fmt, net::SocketAddr};

use http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};

use super::{Told, TrustedProxies};
use crate::middleware::origin::{Origin, authority, canonical};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The origin that a request was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `http` or `https`; `None` if no trusted proxy has told.
    scheme: Option<&'static str>,
    host: Authority,
    port: Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Of(u16),
    /// The one of the scheme: a browser leaves it out of `Host`.
    Default,
    /// A proxy has passed on a host without a port, and has not told of one: it may have taken it away, as nginx does
    /// with `proxy_set_header Host $host`.
    Unknown,
}

impl Seen {
    pub(crate) fn of(
        proxies: &TrustedProxies,
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Option<Self> {
        let Some(told) = proxies.told(peer, headers) else {
            let host = asked(headers, uri)?;
            let port = host.port_u16().map_or(Port::Default, Port::Of);
            return Some(Self { scheme: None, host, port });
        };
        let Told { scheme, host: told_host, port: told_port } = told;
        let is_told = told_host.is_some();
        let host = match told_host {
            Some(host) => authority(&host)?,
            None => asked(headers, uri)?,
        };
        let port = match host.port_u16().or(told_port.filter(|port| !belies(scheme, *port))) {
            Some(port) => Port::Of(port),
            None if is_told || told_port.is_some() => Port::Default,
            None => Port::Unknown,
        };
        Some(Self { scheme, host, port })
    }

    /// The host, in lower case; of IPv6 in its shortest form.
    pub(crate) fn host(&self) -> String {
        canonical(self.host.host())
    }

    /// Returns whether a page of this origin is the server's own.
    pub(crate) fn is_of(&self, origin: &Origin) -> bool {
        let scheme_fits = self.scheme.is_none_or(|scheme| scheme == origin.scheme);
        let port_fits = match self.port {
            Port::Of(port) => origin.port() == Some(port),
            Port::Default => origin.has_default_port(),
            Port::Unknown => true,
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
            Port::Of(port) if !belongs(scheme, port) => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        }
    }
}

/// For logs: `http(s)` where the scheme is not known, and the port's absence told.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.unwrap_or("http(s)"), self.host())?;
        match self.port {
            Port::Of(port) => write!(f, ":{port}"),
            Port::Default => Ok(()),
            Port::Unknown => f.write_str(":*"),
        }
    }
}

/// The host that a request names itself.
fn asked(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => authority(host.to_str().ok()?),
        (None, _) => uri.authority().cloned(),
        (Some(_), Some(_)) => None,
    }
}

fn belongs(scheme: &str, port: u16) -> bool {
    matches!((scheme, port), ("http", 80) | ("https", 443))
}

/// Some proxies tell the port that they listen at themselves, behind what ends TLS.
fn belies(scheme: Option<&str>, port: u16) -> bool {
    matches!((scheme, port), (Some("https"), 80) | (Some("http"), 443))
}

/// The origin of a page whose browser names none, because it only reads from its own server: it says so in
/// `Sec-Fetch-Site`, which no page can set. Any other page that names no origin has none that counts: `null`. Nothing for
/// a request that names one, and for those of programs.
pub(crate) fn unnamed(headers: &HeaderMap, seen: Option<&Seen>, uri: &Uri) -> Option<HeaderValue> {
    if headers.contains_key(header::ORIGIN) {
        return None;
    }
    let site = headers.get(SEC_FETCH_SITE)?;
    let own = (site == "same-origin").then(|| {
        // No page can set this one either. It is what `Origin` would be, also where a proxy hides the port.
        let referer = headers.get(header::REFERER).map(|referer| String::from_utf8_lossy(referer.as_bytes()));
        let referer = referer.and_then(|referer| page_of(&referer));
        HeaderValue::try_from(referer.or_else(|| Some(seen?.text(uri)))?).ok()
    });
    Some(own.flatten().unwrap_or(HeaderValue::from_static("null")))
}

fn page_of(referer: &str) -> Option<String> {
    let (scheme, rest) = referer.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let origin = format!("{scheme}://{}", &rest[..end]);
    Origin::parse(&origin).filter(Origin::is_web).map(|_| origin)
}
