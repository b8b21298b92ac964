//! Which pages may open a socket.
//!
//! A browser sends a page's cookies along with any socket that the page opens, to whatever server; only the
//! `Origin` header tells the server whose page it is. Without this check a page of anybody's could use the
//! socket in its visitor's name.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, Uri, header, uri::Authority};

use crate::{application::Application, error::Error, scope::Scope, socket::Socket, wire::Running};

/// Which origins are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Every origin: for sockets that give nothing to a page that anybody else could not have.
    Any,
    /// The host that the request was sent to, and clients that send no origin because they are no browsers.
    SameHost,
}

impl Origins {
    /// May this request come in?
    ///
    /// # Errors
    /// The status to refuse it with.
    fn check(self, scope: &Scope) -> Result<(), StatusCode> {
        if self == Self::Any {
            return Ok(());
        }
        let mut origins = scope.headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        if origins.next().is_some() {
            return Err(StatusCode::BAD_REQUEST);
        }
        let origin = origin.to_str().ok().and_then(parse).ok_or(StatusCode::FORBIDDEN)?;
        let host = host(&scope.headers, &scope.uri).ok_or(StatusCode::FORBIDDEN)?;
        if origin.matches(&host) { Ok(()) } else { Err(StatusCode::FORBIDDEN) }
    }
}

/// An application with an origin check in front.
pub struct OriginCheck<A> {
    origins: Origins,
    inner: Arc<A>,
}

impl<A: Application> OriginCheck<A> {
    /// Lets only these origins through to `inner`.
    pub fn new(origins: Origins, inner: A) -> Self {
        Self { origins, inner: Arc::new(inner) }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<A: Application> Application for OriginCheck<A> {
    fn claims(&self, scope: &Scope) -> bool {
        self.inner.claims(scope)
    }

    fn call(&self, socket: Socket) -> Running {
        match self.origins.check(socket.scope()) {
            Ok(()) => self.inner.call(socket),
            Err(status) => {
                log(socket.scope());
                Box::pin(std::future::ready(Err(Error::Refused(status))))
            }
        }
    }
}

/// The origin comes from anybody: escaped, and not more of it than a line takes.
fn log(scope: &Scope) {
    let origin = scope.headers.get(header::ORIGIN).map(|value| value.as_bytes().escape_ascii().to_string());
    let origin: String = origin.unwrap_or_default().chars().take(256).collect();
    tracing::warn!(path = scope.path(), origin, "refused: the page's origin is not the host it asks");
}

/// An origin of the form `scheme://host[:port]`, with a web page's scheme.
struct Origin {
    authority: Authority,
    default_port: u16,
}

impl Origin {
    fn matches(&self, host: &Authority) -> bool {
        let port = |authority: &Authority| authority.port_u16().unwrap_or(self.default_port);
        self.authority.host().eq_ignore_ascii_case(host.host()) && port(&self.authority) == port(host)
    }
}

fn parse(origin: &str) -> Option<Origin> {
    let (scheme, rest) = origin.split_once("://")?;
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some(Origin { authority: authority(rest)?, default_port })
}

fn host(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    match headers.get(header::HOST) {
        Some(host) => authority(host.to_str().ok()?),
        None => uri.authority().cloned(),
    }
}

/// Strictly a host and a port: no user, and a port that is one.
fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let port_is_one =
        authority.port().is_some() == has_port(text) && authority.port().is_none_or(|p| p.as_u16() > 0);
    (!text.contains('@') && !authority.host().is_empty() && port_is_one).then_some(authority)
}

fn has_port(text: &str) -> bool {
    let after_brackets = text.rsplit_once(']').map_or(text, |(_, rest)| rest);
    after_brackets.contains(':')
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(host: &str, origins: &[&str]) -> Result<(), StatusCode> {
        let mut request = Request::get("/").header("host", host);
        for origin in origins {
            request = request.header("origin", *origin);
        }
        Origins::SameHost.check(&Scope::of(&mut request.body(()).unwrap()))
    }

    #[test]
    fn the_same_host_and_clients_without_an_origin_come_in() {
        for (host, origin) in [
            ("a.com", "http://a.com"),
            ("a.com", "https://A.com"),
            ("a.com:8000", "http://a.com:8000"),
            ("a.com:80", "http://a.com"),
            ("a.com", "https://a.com:443"),
            ("[::1]:8000", "http://[::1]:8000"),
        ] {
            assert_eq!(check(host, &[origin]), Ok(()), "{host} {origin}");
        }
        assert_eq!(check("a.com", &[]), Ok(()));
    }

    #[test]
    fn every_other_origin_is_refused_and_none_breaks_the_check() {
        for origin in [
            "http://b.com",
            "http://a.com.b.com",
            "http://xa.com",
            "http://a.com:8000",
            "https://a.com:80",
            "null",
            "",
            "a.com",
            "ftp://a.com",
            "file://a.com",
            "http://user@a.com",
            "http://a.com/path",
            "http://a.com:99999",
            "http://a.com:",
            "http://[",
            "http://a.com.",
            "http://",
        ] {
            assert_eq!(check("a.com", &[origin]), Err(StatusCode::FORBIDDEN), "{origin}");
        }
    }

    #[test]
    fn two_origins_are_a_bad_request() {
        assert_eq!(check("a.com", &["http://a.com", "http://a.com"]), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn any_origin_comes_in_where_that_is_asked_for() {
        let mut request =
            Request::get("/").header("host", "a.com").header("origin", "http://b.com").body(()).unwrap();
        assert_eq!(Origins::Any.check(&Scope::of(&mut request)), Ok(()));
    }
}
