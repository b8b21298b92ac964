//! Which pages may open a socket.
//!
//! A browser sends a page's cookies along with any socket that the page opens, to whatever server; only the
//! `Origin` header tells the server whose page it is. Without this check a page of anybody's could use the
//! socket in its visitor's name.
//!
//! 1. Two `Origin` headers are a bad request.
//! 2. An origin is `scheme://host[:port]` and nothing else; everything else is refused, and breaks nothing.
//! 3. Scheme, host and port are compared, the host in lower case, the port with the scheme's default; a pattern
//!    without a scheme fits web pages only (http and https).
//! 4. `null` is refused unless it is listed.
//! 5. A client without an origin is no browser: it is let in, except where the application acts on cookies or other
//!    credentials that a browser adds by itself. [`OriginRules::allow_missing`] and
//!    [`deny_missing`](OriginRules::deny_missing) say it explicitly.
//! 6. Every origin is let in only by saying [`Origins::Any`].
//! 7. The rule is the same for every transport. On plain HTTP, a request without an origin that only reads
//!    (`GET`, `HEAD`) is let in: browsers send none with their own pages' links.
//! 8. A refusal happens before the upgrade, and the log says why.
//! 9. "The same host" is the one in `Host`; what a proxy says counts only from [`TrustedProxies`].
//! 10. The check is on by default.

mod pattern;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use http::{HeaderMap, Method, StatusCode, Uri, header};

use self::pattern::Origin;
pub use self::pattern::{NoOrigin, OriginPattern};
pub(super) use self::pattern::{authority, host_fits};
use super::{
    guard::{Guard, Visit},
    proxy::TrustedProxies,
};
use crate::{
    application::Application,
    error::Error,
    scope::{Protocol, Scope, printable},
    socket::Socket,
    wire::{Refuse, Running},
};

/// Which origins are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Every origin: for sockets that give nothing to a page that anybody else could not have.
    Any,
    /// The host that the request was sent to.
    SameHost,
    /// As the rules say.
    Rules(OriginRules),
}

impl From<OriginRules> for Origins {
    fn from(rules: OriginRules) -> Self {
        Self::Rules(rules)
    }
}

/// Which origins are let in, in detail.
///
/// ```
/// use ws_consumer::middleware::{OriginRules, TrustedProxies};
///
/// let rules = OriginRules::same_host()
///     .and("https://app.example.com")?
///     .and(".example.org")?
///     .trust(TrustedProxies::new(["10.0.0.0/8"])?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginRules {
    same_host: bool,
    allowed: Vec<OriginPattern>,
    missing: Option<bool>,
    proxies: TrustedProxies,
}

impl OriginRules {
    /// The host that the request was sent to.
    pub fn same_host() -> Self {
        Self { same_host: true, ..Self::default() }
    }

    /// No origin until [`and`](Self::and) adds some.
    pub fn listed() -> Self {
        Self::default()
    }

    /// Lets the origins of an [`OriginPattern`] in, too.
    ///
    /// # Errors
    /// The text is no such pattern.
    pub fn and(mut self, pattern: &str) -> Result<Self, NoOrigin> {
        self.allowed.push(pattern.parse()?);
        Ok(self)
    }

    /// Lets clients in that send no origin, because they are no browsers, even where the application acts on cookies.
    pub fn allow_missing(mut self) -> Self {
        self.missing = Some(true);
        self
    }

    /// Refuses clients that send no origin.
    pub fn deny_missing(mut self) -> Self {
        self.missing = Some(false);
        self
    }

    /// Believes these proxies about the host and the scheme that the client asked for.
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    fn check(&self, request: &Asked<'_>, missing: bool) -> Result<(), StatusCode> {
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return if self.missing.unwrap_or(missing) { Ok(()) } else { Err(StatusCode::FORBIDDEN) };
        };
        if origins.next().is_some() {
            return Err(StatusCode::BAD_REQUEST);
        }
        let origin = origin.to_str().map_err(|_| StatusCode::FORBIDDEN)?;
        let listed = || self.allowed.iter().any(|pattern| pattern.matches(origin));
        let own = || self.same_host && self.is_own(origin, request).unwrap_or(false);
        if own() || listed() { Ok(()) } else { Err(StatusCode::FORBIDDEN) }
    }

    fn is_own(&self, origin: &str, request: &Asked<'_>) -> Option<bool> {
        let origin = Origin::parse(origin)?;
        let scheme_fits = match self.proxies.scheme(request.peer, request.headers) {
            Some(scheme) => scheme.eq_ignore_ascii_case(&origin.scheme),
            None => true, // nobody has told
        };
        let host = match self.proxies.host(request.peer, request.headers) {
            Some(host) => authority(host)?,
            None => host(request.headers, request.uri)?,
        };
        Some(scheme_fits && origin.is_of(&host))
    }
}

/// The host in a request that has one.
pub(super) fn host(headers: &HeaderMap, uri: &Uri) -> Option<http::uri::Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => authority(host.to_str().ok()?),
        (None, _) => uri.authority().cloned(),
        (Some(_), Some(_)) => None,
    }
}

/// What the check looks at.
struct Asked<'a> {
    headers: &'a HeaderMap,
    uri: &'a Uri,
    peer: Option<SocketAddr>,
}

impl<'a> From<&'a Scope> for Asked<'a> {
    fn from(scope: &'a Scope) -> Self {
        Self { headers: &scope.headers, uri: &scope.uri, peer: scope.peer }
    }
}

impl Origins {
    fn check(&self, request: &Asked<'_>, missing: bool) -> Result<(), StatusCode> {
        let checked = match self {
            Self::Any => Ok(()),
            Self::SameHost => OriginRules::same_host().check(request, missing),
            Self::Rules(rules) => rules.check(request, missing),
        };
        checked.inspect_err(|_| log(request))
    }
}

/// Browsers send no origin with their own pages' links and pictures.
fn only_reads(is_websocket: bool, method: &Method) -> bool {
    !is_websocket && matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// For one route, or for plain HTTP. Clients without an origin are let in unless the rules deny it.
impl Guard for Origins {
    async fn admit(&self, visit: &mut Visit<'_>) -> Result<(), Refuse> {
        let asked = Asked { headers: visit.headers, uri: visit.uri, peer: visit.peer };
        if only_reads(visit.is_websocket(), visit.method) && !asked.headers.contains_key(header::ORIGIN) {
            return Ok(());
        }
        Ok(self.check(&asked, true)?)
    }

    fn checks_origin(&self) -> bool {
        *self != Self::Any
    }
}

/// An application with an origin check in front.
pub struct OriginCheck<A> {
    origins: Origins,
    /// Are clients without an origin let in, where the rules do not say?
    missing: bool,
    inner: A,
}

impl<A: Application> OriginCheck<A> {
    /// Lets only these origins through to `inner`. Clients without an origin are let in unless `inner`
    /// [acts on credentials that browsers add](Application::uses_ambient_credentials), or the rules say otherwise.
    pub fn new(origins: impl Into<Origins>, inner: A) -> Self {
        let missing = !inner.uses_ambient_credentials();
        Self { origins: origins.into(), missing, inner }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<A: Application> Application for OriginCheck<A> {
    fn claims(&self, scope: &Scope) -> bool {
        self.inner.claims(scope)
    }

    fn call(&self, socket: Socket) -> Running {
        let scope = socket.scope();
        let asked = Asked::from(scope);
        let reads = only_reads(scope.protocol == Protocol::WebSocket, &scope.method);
        if reads && !asked.headers.contains_key(header::ORIGIN) {
            return self.inner.call(socket);
        }
        match self.origins.check(&asked, self.missing) {
            Ok(()) => self.inner.call(socket),
            Err(status) => Box::pin(std::future::ready(Err(Error::Refused(status)))),
        }
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.origins == Origins::Any && self.inner.uses_ambient_credentials()
    }
}

/// The origin comes from anybody: escaped, and not more of it than a line takes.
fn log(request: &Asked<'_>) {
    let origin = request.headers.get(header::ORIGIN).map(|value| value.as_bytes().escape_ascii().to_string());
    let origin: String = origin.unwrap_or_default().chars().take(256).collect();
    let path = &*printable(request.uri.path());
    tracing::warn!(path, origin, "refused: the page's origin is not among those that are let in");
}
