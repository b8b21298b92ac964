//! Origins and what they are compared with, without IO.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use http::uri::Authority;

/// The value of an `Origin` header: strictly `scheme://host[:port]`, except for one slash at the end, which
/// some programs add. Schemes other than the web's may lack a host: `file://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::middleware) struct Origin {
    pub(in crate::middleware) scheme: String,
    authority: Option<Authority>,
}

impl Origin {
    pub(in crate::middleware) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = is_scheme(scheme).then(|| scheme.to_ascii_lowercase())?;
        let authority = match without_slash(rest) {
            "" if default_port(&scheme).is_none() => None,
            rest => Some(authority(rest)?),
        };
        Some(Self { scheme, authority })
    }

    pub(in crate::middleware) fn is_web(&self) -> bool {
        matches!(&*self.scheme, "http" | "https")
    }

    /// In lower case; empty if there is none.
    pub(in crate::middleware) fn host(&self) -> String {
        self.authority.as_ref().map(|authority| canonical(authority.host())).unwrap_or_default()
    }

    /// The port that is meant, if the scheme has one.
    pub(in crate::middleware) fn port(&self) -> Option<u16> {
        self.authority.as_ref().and_then(Authority::port_u16).or_else(|| default_port(&self.scheme))
    }

    pub(in crate::middleware) fn has_default_port(&self) -> bool {
        self.port() == default_port(&self.scheme)
    }
}

fn without_slash(text: &str) -> &str {
    text.strip_suffix('/').unwrap_or(text)
}

/// One entry of an allow list.
///
/// | pattern | lets in |
/// |---|---|
/// | `https://example.com` | this scheme, this host, the scheme's port |
/// | `https://example.com:8443` | this scheme, host and port |
/// | `example.com` | this host over http or https, any port |
/// | `example.com:8000` | this host and port over http or https |
/// | `.example.com` | the domain and all below it; with a scheme too: `https://.example.com` |
/// | `capacitor://localhost` | this scheme and host, where pages are not the web's: those of an application |
/// | `file://` | local files, where the browser names them so |
/// | `null` | pages without an origin of their own: sandboxed frames, local files |
///
/// One slash at the end makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Null,
    Origin { scheme: Option<String>, subdomains: bool, host: String, port: Option<u16> },
}

impl OriginPattern {
    pub(super) fn matches(&self, header: &str) -> bool {
        let Pattern::Origin { scheme, subdomains, host, port } = &self.0 else { return header == "null" };
        let Some(origin) = Origin::parse(header) else { return false };
        let port_fits = match (scheme, port) {
            (Some(scheme), port) => {
                *scheme == origin.scheme && port.or(default_port(scheme)) == origin.port()
            }
            (None, Some(port)) => origin.is_web() && origin.port() == Some(*port),
            (None, None) => origin.is_web(),
        };
        port_fits && host_fits(&origin.host(), host, *subdomains)
    }
}

/// Writes the pattern as it was given, without a slash at the end.
impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pattern::Origin { scheme, subdomains, host, port } = &self.0 else { return f.write_str("null") };
        if let Some(scheme) = scheme {
            write!(f, "{scheme}://")?;
        }
        write!(f, "{}{host}", if *subdomains { "." } else { "" })?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Lower-case, and at the boundary of a label: `xexample.com` is nothing below `example.com`.
pub(in crate::middleware) fn host_fits(host: &str, wanted: &str, subdomains: bool) -> bool {
    let host = host.to_ascii_lowercase();
    let below = || host.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
    host == wanted || (subdomains && below())
}

impl FromStr for OriginPattern {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let fault = |why| OriginError { text: text.to_owned(), why };
        if text == "null" {
            return Ok(Self(Pattern::Null));
        }
        if text == "*" {
            return Err(fault("to let every origin in, say `Origins::Any`"));
        }
        let (scheme, rest) =
            text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
        if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
            return Err(fault("this is no scheme"));
        }
        if rest.contains('*') {
            return Err(fault("for a domain and all below it, write `.example.com`"));
        }
        let rest = without_slash(rest);
        let scheme = scheme.map(str::to_ascii_lowercase);
        if rest.is_empty() && scheme.as_deref().is_some_and(|scheme| default_port(scheme).is_none()) {
            return Ok(Self(Pattern::Origin { scheme, subdomains: false, host: String::new(), port: None }));
        }
        let (subdomains, rest) = rest.strip_prefix('.').map_or((false, rest), |rest| (true, rest));
        let authority = authority(rest).ok_or_else(|| match rest.is_ascii() {
            true => fault("this is no host with or without a port"),
            false => fault("browsers write such a host in ASCII (Punycode): `xn--..`"),
        })?;
        Ok(Self(Pattern::Origin {
            scheme,
            subdomains,
            host: canonical(authority.host()),
            port: authority.port_u16(),
        }))
    }
}

/// A text that is no [`OriginPattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    text: String,
    why: &'static str,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no pattern of an origin: {}", self.text.escape_debug(), self.why)
    }
}

impl std::error::Error for OriginError {}

/// The text that stands for a host: in lower case, and an address of IPv6 in its shortest form, as browsers write it.
pub(in crate::middleware) fn canonical(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.and_then(|bare| bare.parse::<Ipv6Addr>().ok());
    address.map_or_else(|| host.to_ascii_lowercase(), |address| format!("[{address}]"))
}

fn is_scheme(scheme: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(allowed)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Strictly a host and a port: no user, and a port that is one.
pub(in crate::middleware) fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let port_is_one =
        authority.port().is_some() == has_port(text) && authority.port().is_none_or(|p| p.as_u16() > 0);
    (!text.contains('@') && !authority.host().is_empty() && port_is_one).then_some(authority)
}

fn has_port(text: &str) -> bool {
    let after_brackets = text.rsplit_once(']').map_or(text, |(_, rest)| rest);
    after_brackets.contains(':')
}
