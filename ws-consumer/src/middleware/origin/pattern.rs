//! Origins and what they are compared with, without IO.

use std::{fmt, str::FromStr};

use http::uri::Authority;

/// What a browser says in `Origin`: `scheme://host[:port]`, strictly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) scheme: String,
    pub(super) authority: Authority,
}

impl Origin {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        Some(Self {
            scheme: is_scheme(scheme).then(|| scheme.to_ascii_lowercase())?,
            authority: authority(rest)?,
        })
    }

    pub(super) fn is_web(&self) -> bool {
        matches!(&*self.scheme, "http" | "https")
    }

    /// The port that is meant, if the scheme has one.
    fn port(&self) -> Option<u16> {
        self.authority.port_u16().or_else(|| default_port(&self.scheme))
    }

    /// Is it a page of this host? A host without a port has the one of the page's scheme.
    pub(super) fn is_of(&self, host: &Authority) -> bool {
        let port = host.port_u16().or_else(|| default_port(&self.scheme));
        self.is_web() && self.authority.host().eq_ignore_ascii_case(host.host()) && self.port() == port
    }
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
/// | `null` | pages without an origin of their own: sandboxed frames, local files |
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
        port_fits && host_fits(origin.authority.host(), host, *subdomains)
    }
}

/// Lower-case, and at the boundary of a label: `xexample.com` is nothing below `example.com`.
pub(in crate::middleware) fn host_fits(host: &str, wanted: &str, subdomains: bool) -> bool {
    let host = host.to_ascii_lowercase();
    let below = || host.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
    host == wanted || (subdomains && below())
}

impl FromStr for OriginPattern {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let fault = |why| NoOrigin { text: text.to_owned(), why };
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
        let (subdomains, rest) = rest.strip_prefix('.').map_or((false, rest), |rest| (true, rest));
        let authority = authority(rest).ok_or_else(|| fault("this is no host with or without a port"))?;
        Ok(Self(Pattern::Origin {
            scheme: scheme.map(str::to_ascii_lowercase),
            subdomains,
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16(),
        }))
    }
}

/// A text that is no [`OriginPattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoOrigin {
    text: String,
    why: &'static str,
}

impl fmt::Display for NoOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no pattern of an origin: {}", self.text.escape_debug(), self.why)
    }
}

impl std::error::Error for NoOrigin {}

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
