//! The proxies whose headers are trusted.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{Extensions, HeaderMap, HeaderName};
use ipnet::IpNet;

use super::{
    address::{AddressError, address, network},
    forwarded::{self, ForwardedElement},
};
use crate::scope::{Scope, headers};

pub(super) const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The proxies whose headers are trusted about the client's address and the requested origin. By default none.
///
/// Set once with [`Protocols::trust`](crate::Protocols::trust), they apply to the origin check,
/// [`AllowedHosts`](crate::middleware::AllowedHosts), the [`Limiter`](crate::middleware::Limiter), [`Scope::client`], spans and
/// access logs. In front of other services they are a guard, ahead of the others: `proxies.and(limiter).layer()`.
///
/// Any client can send such headers, so they count only in requests from these proxies. Of a list of addresses only the
/// part on the right counts, which these proxies have added.
///
/// The headers read are `X-Forwarded-For`, `-Host`, `-Port` and `-Proto`, and where one of these is absent,
/// `Forwarded` (RFC 7239). A proxy forwards the headers that it does not set: select the one that yours sets, with
/// [`x_forwarded_only`](Self::x_forwarded_only) or [`forwarded_only`](Self::forwarded_only), where clients
/// could forge the other.
///
/// * The client is the rightmost address that is no trusted proxy's.
/// * The host is the one requested from the outermost trusted proxy. Its port takes precedence over `X-Forwarded-Port`. If a
///   proxy reports neither and forwards a `Host` without a port (nginx's `$host`), the port is unknown, and a page of this
///   host may have any.
/// * The scheme is the leftmost one, the client's; `ws` and `wss` mean `http` and `https`.
///
/// ```
/// use ws_consumer::middleware::TrustedProxies;
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "127.0.0.1"])?;
/// let same_machine = TrustedProxies::new(["unix:"])?; // peers of a Unix socket
/// assert!(TrustedProxies::new(["nonsense"]).is_err());
/// # Ok::<(), ws_consumer::middleware::AddressError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    unix: bool,
    headers: ProxyHeaders,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ProxyHeaders {
    #[default]
    Both,
    Forwarded,
    XForwarded,
}

/// The origin of a request according to trusted proxies.
pub(super) struct ProxyStatement<'a> {
    pub(super) scheme: Option<&'static str>,
    pub(super) host: Option<Cow<'a, str>>,
    pub(super) port: Option<u16>,
}

impl TrustedProxies {
    /// Trusts addresses and networks (`10.0.0.0/8`), and with `unix:` every peer without an address: a Unix socket. If the
    /// server of another crate does not report the addresses of its peers, `unix:` trusts every client.
    ///
    /// # Errors
    /// A text is neither an address nor a network.
    pub fn new<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, AddressError> {
        let mut proxies = Self::default();
        let mut all = Vec::new();
        for text in networks {
            match text.as_ref() {
                "unix:" => proxies.unix = true,
                text => all.push(network(text)?),
            }
        }
        proxies.networks = all.into();
        Ok(proxies)
    }

    /// Reads `Forwarded` only.
    pub fn forwarded_only(mut self) -> Self {
        self.headers = ProxyHeaders::Forwarded;
        self
    }

    /// Reads `X-Forwarded-For`, `-Host`, `-Port` and `-Proto` only.
    pub fn x_forwarded_only(mut self) -> Self {
        self.headers = ProxyHeaders::XForwarded;
        self
    }

    /// The client's address: the rightmost one that is no trusted proxy's.
    pub fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        self.resolve(peer, headers).0
    }

    /// Returns these proxies, or if there are none, those set for the whole service.
    pub(crate) fn or_from<'a>(&'a self, extensions: &'a Extensions) -> &'a Self {
        if self.is_none() { extensions.get().unwrap_or(self) } else { self }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    pub(crate) fn trusts(&self, address: Option<IpAddr>) -> bool {
        match address {
            Some(address) => self.networks.iter().any(|network| network.contains(&address)),
            None => self.unix,
        }
    }

    /// Returns the client's address and the number of trusted proxies on the way.
    fn resolve(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> (Option<IpAddr>, usize) {
        let mut client = peer.map(|peer| peer.ip().to_canonical());
        if !self.trusts(client) {
            return (client, 0);
        }
        let mut proxies = 1;
        for hop in self.hops(headers) {
            // An unreadable entry ends the trust.
            let Some(next) = hop else { break };
            client = Some(next);
            if !self.trusts(client) {
                break;
            }
            proxies += 1;
        }
        (client, proxies)
    }

    /// Returns the client address that each proxy has recorded, from the nearest proxy on.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        if self.reads_x() && headers.contains_key(FOR) {
            let lines = headers.get_all(FOR).iter().map(|line| line.as_bytes());
            let hops = lines.flat_map(|line| line.split(|byte| *byte == b','));
            let mut hops: Vec<_> = hops.map(|hop| std::str::from_utf8(hop).ok().and_then(address)).collect();
            hops.reverse();
            return hops;
        }
        self.elements(headers).iter().rev().map(|element| element.client).collect()
    }

    pub(super) fn statement<'a>(
        &self,
        peer: Option<SocketAddr>,
        headers: &'a HeaderMap,
    ) -> Option<ProxyStatement<'a>> {
        let (_, proxies) = self.resolve(peer, headers);
        if proxies == 0 {
            return None;
        }
        let x = |name: HeaderName| {
            if self.reads_x() { headers::items(headers, name).collect() } else { Vec::new() }
        };
        let (mut hosts, schemes, ports) = (x(HOST), x(PROTO), x(PORT));
        let mut elements = self.elements(headers);
        let scheme =
            schemes.first().copied().or_else(|| elements.iter().find_map(|one| one.proto.as_deref()));
        let scheme = scheme.and_then(scheme_of);
        // Each proxy has added one item, so the outermost trusted proxy's item is counted from the right.
        let host = match hosts.is_empty() {
            false => Some(hosts.swap_remove(hosts.len().saturating_sub(proxies)).into()),
            true => {
                let first = elements.len().saturating_sub(proxies);
                elements.drain(first..).find_map(|element| element.host)
            }
        };
        let port = ports.first().and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        Some(ProxyStatement { scheme, host, port })
    }

    fn elements<'a>(&self, headers: &'a HeaderMap) -> Vec<ForwardedElement<'a>> {
        if self.headers == ProxyHeaders::XForwarded { Vec::new() } else { forwarded::elements(headers) }
    }

    fn reads_x(&self) -> bool {
        self.headers != ProxyHeaders::Forwarded
    }
}

impl Scope {
    /// The client's address: the [`peer`](Self::peer)'s, or the one reported by [`TrustedProxies`].
    pub fn client(&self) -> Option<IpAddr> {
        TrustedProxies::default().or_from(&self.extensions).client(self.peer, &self.headers)
    }
}

/// Maps a scheme to that of the web: some proxies send the scheme of the WebSocket.
fn scheme_of(text: &str) -> Option<&'static str> {
    let is = |name: &str| text.eq_ignore_ascii_case(name);
    if is("https") || is("wss") {
        Some("https")
    } else if is("http") || is("ws") {
        Some("http")
    } else {
        None
    }
}
