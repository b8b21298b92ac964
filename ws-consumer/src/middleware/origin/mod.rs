//! The origin check.

mod pattern;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, net::SocketAddr, sync::Arc};

use channel_layer::ChannelLayer;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, header};

pub use self::pattern::{OriginError, OriginPattern};
use super::{
    guard::Guard,
    proxy::{ServerOrigin, TrustedProxies, unnamed},
    request::GuardRequest,
    web_origin::WebOrigin,
};
use crate::{
    application::Application,
    error::{Error, printable},
    scope::{Protocol, Scope},
    settings::ConnectionSettings,
    socket::Context,
    wire::{Refuse, Running},
};

/// The allowed origins of pages.
///
/// A browser sends its cookies with any WebSocket that a page opens, to any server. Only the `Origin` header tells the server
/// which page that is. Without this check any page could use the WebSocket in its user's name.
///
/// 1. Two `Origin` headers are a bad request.
/// 2. An origin is `scheme://host[:port]`, perhaps with a slash at its end; everything else is refused.
/// 3. Scheme, host and port are compared, the host in lower case (of IPv6 in its shortest form), the port with the scheme's default; a pattern
///    without a scheme fits web pages only (http and https).
/// 4. `null` and `file://` are refused unless they are listed.
/// 5. A client without an origin is no browser. It is admitted unless it sends a `Cookie` to a route that
///    [acts on cookies](Application::uses_ambient_credentials_at) or other credentials that a browser adds by itself:
///    without these it carries no ambient credentials. [`OriginRules::allow_missing`] and
///    [`deny_missing`](OriginRules::deny_missing) say it explicitly.
/// 6. Only [`Origins::Any`] admits every origin.
/// 7. The rule applies to WebSockets, event streams, long polls, polls and the requests that belong to them. A browser names
///    no origin when a page reads an event stream of its own server; `Sec-Fetch-Site` and `Referer`, which no page can set,
///    count instead. On plain HTTP a request without an origin that only reads (`GET`, `HEAD`) is admitted: browsers name
///    none for links of the same site.
/// 8. A refusal happens before the upgrade, and the log names the compared values and the rule.
/// 9. "The same host" is the one in `Host`. Host, port and scheme in a proxy's headers count only from [`TrustedProxies`].
/// 10. The check is on by default.
///
/// The client chooses the name in `Host`: if the owner of `evil.example` points that name at this server's address, its page
/// is one of the same host (DNS rebinding). The browser sends no cookies of another name with it, but where reaching the
/// server is a privilege in itself, as inside a network, list the server's names with [`AllowedHosts`](super::AllowedHosts).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Every origin. For sockets that give a page only public data.
    Any,
    /// The host that the request was sent to.
    SameHost,
    /// Detailed rules.
    Rules(OriginRules),
}

impl From<OriginRules> for Origins {
    fn from(rules: OriginRules) -> Self {
        Self::Rules(rules)
    }
}

/// Detailed rules of allowed origins.
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
    /// Allows the host that the request was sent to.
    pub fn same_host() -> Self {
        Self { same_host: true, ..Self::default() }
    }

    /// Allows no origin until [`and`](Self::and) adds some.
    pub fn listed() -> Self {
        Self::default()
    }

    /// Adds the origins of an [`OriginPattern`].
    ///
    /// # Errors
    /// The text is no such pattern.
    pub fn and(mut self, pattern: &str) -> Result<Self, OriginError> {
        self.allowed.push(pattern.parse()?);
        Ok(self)
    }

    /// Admits clients that send no origin, because they are no browsers, even with cookies that the application acts on.
    pub fn allow_missing(mut self) -> Self {
        self.missing = Some(true);
        self
    }

    /// Refuses clients that send no origin.
    pub fn deny_missing(mut self) -> Self {
        self.missing = Some(false);
        self
    }

    /// Trusts these proxies about the requested host and scheme, instead of those of
    /// [`Protocols::trust`](crate::Protocols::trust).
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    fn check(&self, request: &CheckedRequest<'_>, missing: bool) -> Result<(), OriginRefusal> {
        let seen = request.server_origin(self.proxies.or_from(request.extensions));
        let refused = |why, status| Err(OriginRefusal { why, status, server: seen.clone() });
        let mut origins = request.headers.get_all(header::ORIGIN).iter().map(Cow::Borrowed);
        let Some(origin) = origins.next().or_else(|| request.unnamed(seen.as_ref()).map(Cow::Owned)) else {
            return match self.missing.unwrap_or(missing) {
                true => Ok(()),
                false => refused("a client names no origin where one is required", StatusCode::FORBIDDEN),
            };
        };
        if origins.next().is_some() {
            return refused("a client names two origins", StatusCode::BAD_REQUEST);
        }
        let text = origin.to_str().unwrap_or_default();
        let listed = || self.allowed.iter().any(|pattern| pattern.matches(text));
        let own = || Some(self.same_host && seen.as_ref()?.is_of(&WebOrigin::parse(text)?));
        match own().unwrap_or(false) || listed() {
            true => Ok(()),
            false => refused("the page's origin is not allowed", StatusCode::FORBIDDEN),
        }
    }
}

/// Lists the allowed origins, for logs.
impl fmt::Display for OriginRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.same_host.then(|| "the same host".to_owned());
        let all: Vec<_> = own.into_iter().chain(self.allowed.iter().map(ToString::to_string)).collect();
        f.write_str(if all.is_empty() { "none" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

/// The reason of a refusal, and the values that the origin was compared with.
#[derive(Debug, PartialEq, Eq)]
struct OriginRefusal {
    why: &'static str,
    status: StatusCode,
    server: Option<ServerOrigin>,
}

/// The request fields that the check examines.
struct CheckedRequest<'a> {
    headers: &'a HeaderMap,
    uri: &'a Uri,
    peer: Option<SocketAddr>,
    extensions: &'a Extensions,
}

impl<'a> From<&'a Scope> for CheckedRequest<'a> {
    fn from(scope: &'a Scope) -> Self {
        let Scope { headers, uri, peer, extensions, .. } = scope;
        Self { headers, uri, peer: *peer, extensions }
    }
}

impl CheckedRequest<'_> {
    fn server_origin(&self, proxies: &TrustedProxies) -> Option<ServerOrigin> {
        ServerOrigin::new(proxies, self.peer, self.headers, self.uri)
    }

    fn unnamed(&self, seen: Option<&ServerOrigin>) -> Option<http::HeaderValue> {
        unnamed(self.headers, seen, self.uri)
    }

    fn names_an_origin(&self) -> bool {
        self.headers.contains_key(header::ORIGIN)
    }
}

/// Adds the origin to a request for an event stream, for which browsers send none, so that applications find it as with a
/// WebSocket.
pub(crate) fn name_origin(scope: &mut Scope) {
    let checked = CheckedRequest::from(&*scope);
    let seen = checked.server_origin(TrustedProxies::default().or_from(&scope.extensions));
    if let Some(origin) = checked.unnamed(seen.as_ref()) {
        scope.headers.insert(header::ORIGIN, origin);
    }
}

impl Origins {
    fn check(&self, request: &CheckedRequest<'_>, missing: bool) -> Result<(), StatusCode> {
        let same_host = OriginRules::same_host();
        let rules = match self {
            Self::Any => return Ok(()),
            Self::SameHost => &same_host,
            Self::Rules(rules) => rules,
        };
        rules.check(request, missing).map_err(|refused| {
            log(request, rules, &refused);
            refused.status
        })
    }
}

/// Whether a request only reads. Browsers send no origin with links and images of the same site.
fn only_reads(is_websocket: bool, method: &Method) -> bool {
    !is_websocket && matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// For single routes and for plain HTTP. In front of a service ([`layer`](Guard::layer)) clients without an origin are
/// admitted unless the rules deny it.
impl Guard for Origins {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let (headers, extensions) = (&*request.headers, &*request.extensions);
        let checked = CheckedRequest { headers, uri: request.uri, peer: request.peer, extensions };
        if only_reads(request.is_websocket(), request.method) && !checked.names_an_origin() {
            return Ok(());
        }
        Ok(self.check(&checked, true)?)
    }

    fn checks_origin(&self) -> bool {
        *self != Self::Any
    }

    /// Overridden because the inner application decides which requests must name an origin.
    fn around(self, inner: impl Application) -> impl Application {
        OriginCheck::new(self, inner)
    }
}

/// An application with an origin check in front.
pub struct OriginCheck<A> {
    origins: Origins,
    inner: A,
}

impl<A: Application> OriginCheck<A> {
    /// Admits only these origins to `inner`: see [`Origins`].
    pub fn new(origins: impl Into<Origins>, inner: A) -> Self {
        Self { origins: origins.into(), inner }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<A: Application> Application for OriginCheck<A> {
    fn claims(&self, scope: &Scope) -> bool {
        self.inner.claims(scope)
    }

    fn call(&self, context: Context) -> Running {
        let scope = context.scope();
        let checked = CheckedRequest::from(scope);
        let reads = only_reads(scope.protocol == Protocol::WebSocket, &scope.method);
        if reads && !checked.names_an_origin() {
            return self.inner.call(context);
        }
        // Without a cookie the request has no credentials that a browser adds by itself.
        let ambient = !checked.names_an_origin()
            && checked.headers.contains_key(header::COOKIE)
            && self.inner.uses_ambient_credentials_at(scope);
        match self.origins.check(&checked, !ambient) {
            Ok(()) => self.inner.call(context),
            Err(status) => Box::pin(std::future::ready(Err(Error::Refused(status)))),
        }
    }

    fn settings_at(&self, scope: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        self.inner.settings_at(scope, around)
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        self.inner.own_layers()
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.origins == Origins::Any && self.inner.uses_ambient_credentials()
    }

    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        self.origins == Origins::Any && self.inner.uses_ambient_credentials_at(scope)
    }
}

/// Logs a refusal. Headers are untrusted, so they are escaped, and cut to what one log line takes.
fn log(request: &CheckedRequest<'_>, rules: &OriginRules, refused: &OriginRefusal) {
    let shown = |name| {
        let value = request.headers.get(name).map(|value| value.as_bytes().escape_ascii().to_string());
        value.unwrap_or_default().chars().take(256).collect::<String>()
    };
    let (origin, host): (String, String) = (shown(header::ORIGIN), shown(header::HOST));
    let path = &*printable(request.uri.path());
    let compared = refused.server.as_ref().map_or("no host".to_owned(), ToString::to_string);
    let proxies = rules.proxies.or_from(request.extensions);
    let proxied = proxies.trusts(request.peer.map(|peer| peer.ip().to_canonical()));
    let (rule, peer) = (rules.to_string(), request.peer.map(|peer| peer.to_string()));
    tracing::warn!(path, origin, host, compared, rule, peer, proxied, "refused: {}", refused.why);
}
