//! Patterns of allowed origins.

use std::{fmt, str::FromStr};

use crate::middleware::web_origin::{
    WebOrigin, authority, canonical, default_port, host_fits, is_scheme, without_slash,
};

/// An entry of a list of allowed origins.
///
/// | pattern | allows |
/// |---|---|
/// | `https://example.com` | this scheme, this host, the scheme's port |
/// | `https://example.com:8443` | this scheme, host and port |
/// | `example.com` | this host over http or https, any port |
/// | `example.com:8000` | this host and port over http or https |
/// | `.example.com` | the domain and its subdomains; with a scheme too: `https://.example.com` |
/// | `capacitor://localhost` | this scheme and host: pages inside an application |
/// | `file://` | local files, where the browser names them so |
/// | `null` | pages with an opaque origin: sandboxed frames, local files |
///
/// One slash at the end makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(PatternKind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternKind {
    Null,
    Origin { scheme: Option<String>, subdomains: bool, host: String, port: Option<u16> },
}

impl OriginPattern {
    pub(super) fn matches(&self, header: &str) -> bool {
        let PatternKind::Origin { scheme, subdomains, host, port } = &self.0 else { return header == "null" };
        let Some(origin) = WebOrigin::parse(header) else { return false };
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
        let PatternKind::Origin { scheme, subdomains, host, port } = &self.0 else {
            return f.write_str("null");
        };
        if let Some(scheme) = scheme {
            write!(f, "{scheme}://")?;
        }
        write!(f, "{}{host}", if *subdomains { "." } else { "" })?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for OriginPattern {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let fault = |why| OriginError { text: text.to_owned(), why };
        if text == "null" {
            return Ok(Self(PatternKind::Null));
        }
        if text == "*" {
            return Err(fault("to allow every origin, use `Origins::Any`"));
        }
        let (scheme, rest) =
            text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
        if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
            return Err(fault("this is no scheme"));
        }
        if rest.contains('*') {
            return Err(fault("for a domain and its subdomains, write `.example.com`"));
        }
        let rest = without_slash(rest);
        let scheme = scheme.map(str::to_ascii_lowercase);
        if rest.is_empty() && scheme.as_deref().is_some_and(|scheme| default_port(scheme).is_none()) {
            return Ok(Self(PatternKind::Origin {
                scheme,
                subdomains: false,
                host: String::new(),
                port: None,
            }));
        }
        let (subdomains, rest) = rest.strip_prefix('.').map_or((false, rest), |rest| (true, rest));
        let authority = authority(rest).ok_or_else(|| match rest.is_ascii() {
            true => fault("this is no host with or without a port"),
            false => fault("browsers write such a host in ASCII (Punycode): `xn--..`"),
        })?;
        Ok(Self(PatternKind::Origin {
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
