//! The proxies that are believed, and the client's address that follows.

mod forwarded;
mod seen;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{Extensions, HeaderMap, HeaderName};
use ipnet::IpNet;

pub(crate) use self::seen::{Seen, unnamed};
use super::guard::{Guard, GuardRequest};
use crate::{scope::Scope, wire::Refuse};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The proxies that are trusted about the client: its address, and the origin that it sees. By default none.
///
/// Set once with [`Protocols::trust`](crate::Protocols::trust), they serve everything behind: the origin check,
/// [`AllowedHosts`](super::AllowedHosts), the [`Limiter`](super::Limiter), [`Scope::client`], spans and access logs. In
/// front of a service that is none of this crate's they are a guard of their own, ahead of the others:
/// `proxies.and(limiter).layer()`.
///
/// Any client can send such headers: they count only when they come from one of these proxies. Of a list of
/// addresses, only the part on the right counts, which such proxies have added.
///
/// The headers read are `X-Forwarded-For`, `-Host`, `-Port` and `-Proto`, and where one of these is absent,
/// `Forwarded` (RFC 7239). A proxy passes on what it does not set: name the one that yours sets, with
/// [`x_forwarded_only`](Self::x_forwarded_only) or [`forwarded_only`](Self::forwarded_only), where clients
/// could make up the other.
///
/// * The client is the rightmost address that is no trusted proxy's.
/// * The host is what the outermost of the trusted proxies was asked for. A port in it counts before
///   `X-Forwarded-Port`. Where a proxy tells neither and passes on a `Host` without a port (nginx's `$host`), the port
///   is not known, and a page of this host may have any.
/// * The scheme is the leftmost that was told, the client's own; `ws` and `wss` mean `http` and `https`.
///
/// ```
/// use ws_consumer::middleware::TrustedProxies;
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "127.0.0.1"])?;
/// let same_machine = TrustedProxies::new(["unix:"])?; // who comes in through a Unix socket
/// assert!(TrustedProxies::new(["nonsense"]).is_err());
/// # Ok::<(), ws_consumer::middleware::AddressError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    unix: bool,
    headers: Headers,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Headers {
    #[default]
    Both,
    Forwarded,
    XForwarded,
}

/// A text that is neither an address nor a network.
#[derive(Debug)]
pub struct AddressError(String);

/// The statements of trusted proxies.
struct Told<'a> {
    scheme: Option<&'static str>,
    host: Option<Cow<'a, str>>,
    port: Option<u16>,
}

impl TrustedProxies {
    /// These addresses and networks (`10.0.0.0/8`), and with `unix:` every peer without an address: a Unix socket. Where
    /// the server of another crate does not tell the addresses of its peers, that is everybody.
    ///
    /// # Errors
    /// One of them is neither.
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
        self.headers = Headers::Forwarded;
        self
    }

    /// Reads `X-Forwarded-For`, `-Host`, `-Port` and `-Proto` only.
    pub fn x_forwarded_only(mut self) -> Self {
        self.headers = Headers::XForwarded;
        self
    }

    /// The address that the request came from: the rightmost one that is no proxy's.
    pub fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        self.walk(peer, headers).0
    }

    /// These, or where they are none, those that were set for the whole service.
    pub(crate) fn or_of<'a>(&'a self, extensions: &'a Extensions) -> &'a Self {
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

    /// The client, and how many proxies are between.
    fn walk(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> (Option<IpAddr>, usize) {
        let mut client = peer.map(|peer| peer.ip().to_canonical());
        if !self.trusts(client) {
            return (client, 0);
        }
        let mut proxies = 1;
        for hop in self.hops(headers) {
            // Who speaks so is no proxy to be believed further.
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

    fn told<'a>(&self, peer: Option<SocketAddr>, headers: &'a HeaderMap) -> Option<Told<'a>> {
        let (_, proxies) = self.walk(peer, headers);
        if proxies == 0 {
            return None;
        }
        let x = |name: HeaderName| if self.reads_x() { list(headers, name) } else { Vec::new() };
        let (mut hosts, schemes, ports) = (x(HOST), x(PROTO), x(PORT));
        let mut elements = self.elements(headers);
        let scheme =
            schemes.first().copied().or_else(|| elements.iter().find_map(|one| one.proto.as_deref()));
        let scheme = scheme.and_then(scheme_of);
        // Each proxy that adds to a list has added one: the outermost trusted one's is so far from the right.
        let host = match hosts.is_empty() {
            false => Some(hosts.swap_remove(hosts.len().saturating_sub(proxies)).into()),
            true => {
                let first = elements.len().saturating_sub(proxies);
                elements.drain(first..).find_map(|element| element.host)
            }
        };
        let port = ports.first().and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        Some(Told { scheme, host, port })
    }

    fn elements<'a>(&self, headers: &'a HeaderMap) -> Vec<forwarded::Element<'a>> {
        if self.headers == Headers::XForwarded { Vec::new() } else { forwarded::elements(headers) }
    }

    fn reads_x(&self) -> bool {
        self.headers != Headers::Forwarded
    }
}

/// For all that is behind: see [`TrustedProxies`].
impl Guard for TrustedProxies {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        request.extensions.insert(self.clone());
        Ok(())
    }
}

impl Scope {
    /// The address that the client has: the [`peer`](Self::peer)'s, or what [`TrustedProxies`] say.
    pub fn client(&self) -> Option<IpAddr> {
        TrustedProxies::default().or_of(&self.extensions).client(self.peer, &self.headers)
    }
}

/// The items of a header that is a list, over all of its lines.
fn list(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Some proxies name the scheme of the WebSocket.
fn scheme_of(text: &str) -> Option<&'static str> {
    let is = |name: &str| text.eq_ignore_ascii_case(name);
    match () {
        () if is("https") || is("wss") => Some("https"),
        () if is("http") || is("ws") => Some("http"),
        () => None,
    }
}

fn network(text: &str) -> Result<IpNet, AddressError> {
    let host = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| host()).map(unmapped).map_err(|_| AddressError(text.to_owned()))
}

/// Addresses of IPv4 that are written as IPv6 are compared as what they are.
fn unmapped(network: IpNet) -> IpNet {
    let v4 = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    v4.and_then(|(address, length)| IpNet::new(address.into(), length).ok()).unwrap_or(network)
}

/// An address, perhaps with a port, as some proxies add one.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address =
        bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

impl std::fmt::Display for AddressError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is neither an address nor a network", self.0.escape_debug())
    }
}

impl std::error::Error for AddressError {}
