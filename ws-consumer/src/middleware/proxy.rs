//! Which proxies are believed, and what the client's address then is.
//!
//! Anybody can send `X-Forwarded-For`. It counts only when it comes from a proxy of one's own, and of its list only
//! what such proxies have added: the part on the right.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The proxies whose `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto` are believed. By default none.
///
/// ```
/// use ws_consumer::middleware::TrustedProxies;
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "127.0.0.1"])?;
/// assert!(TrustedProxies::new(["nonsense"]).is_err());
/// # Ok::<(), ws_consumer::middleware::NoAddress>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// A text that is neither an address nor a network.
#[derive(Debug)]
pub struct NoAddress(String);

impl TrustedProxies {
    /// These addresses and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// One of them is neither.
    pub fn new<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, NoAddress> {
        networks.into_iter().map(|text| network(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// The address that the request came from: the rightmost one that is no proxy's.
    pub fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer?.ip().to_canonical();
        let values: Vec<_> = headers.get_all(FOR).iter().collect();
        let hops = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|b| *b == b','));
        for hop in hops {
            if !self.has(client) {
                return Some(client);
            }
            match std::str::from_utf8(hop).ok().and_then(address) {
                Some(next) => client = next,
                // Who speaks so is no proxy to be believed further.
                None => return Some(client),
            }
        }
        Some(client)
    }

    /// The host that the client asked a proxy for.
    pub(super) fn host<'a>(&self, peer: Option<SocketAddr>, headers: &'a HeaderMap) -> Option<&'a str> {
        self.last(peer, headers, HOST)
    }

    /// The scheme that the client spoke to a proxy.
    pub(super) fn scheme<'a>(&self, peer: Option<SocketAddr>, headers: &'a HeaderMap) -> Option<&'a str> {
        self.last(peer, headers, PROTO)
    }

    /// What the nearest proxy has said.
    fn last<'a>(
        &self,
        peer: Option<SocketAddr>,
        headers: &'a HeaderMap,
        name: HeaderName,
    ) -> Option<&'a str> {
        if !peer.is_some_and(|peer| self.has(peer.ip().to_canonical())) {
            return None;
        }
        let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        value.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
    }

    fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(text: &str) -> Result<IpNet, NoAddress> {
    let host = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| host()).map_err(|_| NoAddress(text.to_owned()))
}

/// An address, perhaps with a port, as some proxies add one.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address =
        bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

impl std::fmt::Display for NoAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is neither an address nor a network", self.0.escape_debug())
    }
}

impl std::error::Error for NoAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lists: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(FOR, http::HeaderValue::from_bytes(list).unwrap());
        }
        let proxies = TrustedProxies::new(["10.0.0.0/8", "::1"]).unwrap();
        proxies.client(Some(peer.parse().unwrap()), &headers).unwrap().to_string()
    }

    #[test]
    fn a_list_counts_only_from_a_trusted_peer() {
        assert_eq!(client("9.9.9.9:1", &[b"1.2.3.4"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1:1", &[b"1.2.3.4"]), "1.2.3.4");
        assert_eq!(client("[::1]:1", &[b"[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("[::ffff:10.0.0.1]:1", &[b"1.2.3.4:5"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_counts() {
        assert_eq!(client("10.0.0.1:1", &[b"6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1", &[b"6.6.6.6", b"1.2.3.4"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1", &[b"10.0.0.3"]), "10.0.0.3");
    }

    #[test]
    fn garbage_ends_the_belief() {
        for list in [&b"1.2.3.4, x"[..], b"", b"\xff", b"1.2.3.4,", b"999.1.1.1"] {
            assert_eq!(client("10.0.0.1:1", &[list]), "10.0.0.1", "{list:?}");
        }
    }

    #[test]
    fn host_and_scheme_are_the_nearest_proxys_words() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, "evil.com, a.com".parse().unwrap());
        headers.append(PROTO, "https".parse().unwrap());
        let proxies = TrustedProxies::new(["10.0.0.1"]).unwrap();
        let (near, far) = ("10.0.0.1:1".parse().ok(), "10.0.0.2:1".parse().ok());
        assert_eq!(proxies.host(near, &headers), Some("a.com"));
        assert_eq!(proxies.scheme(near, &headers), Some("https"));
        assert_eq!(proxies.host(far, &headers), None);
        assert_eq!(proxies.host(None, &headers), None);
    }
}
