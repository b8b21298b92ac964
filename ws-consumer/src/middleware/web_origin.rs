//! Web origins and hosts, parsed and in canonical form.

use std::net::Ipv6Addr;

use http::uri::Authority;

/// The value of an `Origin` header: strictly `scheme://host[:port]`, except for one slash at the end, which
/// some programs add. Schemes other than the web's may lack a host: `file://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebOrigin {
    pub(super) scheme: String,
    authority: Option<Authority>,
}

impl WebOrigin {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = is_scheme(scheme).then(|| scheme.to_ascii_lowercase())?;
        let authority = match without_slash(rest) {
            "" if default_port(&scheme).is_none() => None,
            rest => Some(authority(rest)?),
        };
        Some(Self { scheme, authority })
    }

    pub(super) fn is_web(&self) -> bool {
        matches!(&*self.scheme, "http" | "https")
    }

    /// The canonical host; empty if the origin has none.
    pub(super) fn host(&self) -> String {
        self.authority.as_ref().map(|authority| canonical(authority.host())).unwrap_or_default()
    }

    /// The port, or else the scheme's default.
    pub(super) fn port(&self) -> Option<u16> {
        self.authority.as_ref().and_then(Authority::port_u16).or_else(|| default_port(&self.scheme))
    }

    pub(super) fn has_default_port(&self) -> bool {
        self.port() == default_port(&self.scheme)
    }
}

pub(super) fn without_slash(text: &str) -> &str {
    text.strip_suffix('/').unwrap_or(text)
}

/// Whether a host is the wanted one or a subdomain. Compared in lower case and at the boundary of a label: `xexample.com` is
/// no subdomain of `example.com`.
pub(super) fn host_fits(host: &str, wanted: &str, subdomains: bool) -> bool {
    let host = host.to_ascii_lowercase();
    let below = || host.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
    host == wanted || (subdomains && below())
}

/// Returns the canonical text of a host: in lower case, and an IPv6 address in its shortest form, as browsers write it.
pub(super) fn canonical(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.and_then(|bare| bare.parse::<Ipv6Addr>().ok());
    address.map_or_else(|| host.to_ascii_lowercase(), |address| format!("[{address}]"))
}

pub(super) fn is_scheme(scheme: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(allowed)
}

pub(super) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Parses a host with an optional port, strictly: no user, and a valid port.
pub(super) fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let port_is_one =
        authority.port().is_some() == has_port(text) && authority.port().is_none_or(|p| p.as_u16() > 0);
    (!text.contains('@') && !authority.host().is_empty() && port_is_one).then_some(authority)
}

fn has_port(text: &str) -> bool {
    let after_brackets = text.rsplit_once(']').map_or(text, |(_, rest)| rest);
    after_brackets.contains(':')
}
