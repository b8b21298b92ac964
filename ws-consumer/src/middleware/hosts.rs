//! The allowed values of `Host`.

use http::StatusCode;

use super::{
    guard::Guard,
    proxy::{ServerOrigin, TrustedProxies},
    request::GuardRequest,
    web_origin::{canonical, host_fits},
};
use crate::wire::Refuse;

/// Refuses requests for other hosts than these with 400. The port is ignored.
///
/// A page that builds links from the `Host` header lets the sender of a request choose them. A name that an
/// attacker points at this server's address makes the attacker's page the "same host". A list of the server's
/// names prevents both.
///
/// ```
/// use ws_consumer::{Router, middleware::{AllowedHosts, Guard}};
///
/// // The host itself; the domain and everything below it.
/// let hosts = AllowedHosts::new(["example.com", ".example.org"]);
/// let application = hosts.around(Router::new());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts {
    hosts: Vec<String>,
    proxies: TrustedProxies,
}

impl AllowedHosts {
    /// Allows these hosts; `.example.com` means the domain and all its subdomains.
    pub fn new<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Self {
        let hosts = hosts.into_iter().map(|host| canonical(host.as_ref())).collect();
        Self { hosts, proxies: TrustedProxies::default() }
    }

    /// Allows `localhost` and its subdomains, `127.0.0.1` and `[::1]`, for development.
    pub fn local() -> Self {
        Self::new([".localhost", "127.0.0.1", "[::1]"])
    }

    /// Trusts these proxies about the requested host, instead of those of [`Protocols::trust`](crate::Protocols::trust).
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    fn has(&self, host: &str) -> bool {
        self.hosts.iter().any(|allowed| match allowed.strip_prefix('.') {
            Some(domain) => host_fits(host, domain, true),
            None => host_fits(host, allowed, false),
        })
    }
}

impl Guard for AllowedHosts {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let proxies = self.proxies.or_from(request.extensions);
        let seen = ServerOrigin::new(proxies, request.peer, request.headers, request.uri);
        if seen.as_ref().is_some_and(|seen| self.has(&seen.host())) {
            return Ok(());
        }
        let host =
            request.headers.get(http::header::HOST).map(|host| host.as_bytes().escape_ascii().to_string());
        let host: String = host.unwrap_or_default().chars().take(256).collect();
        let compared = seen.map(|seen| seen.host());
        tracing::warn!(host, compared, "refused: the host is not among those that are served");
        Err(StatusCode::BAD_REQUEST.into())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn has(hosts: &AllowedHosts, asked: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("host", asked.parse().unwrap());
        seen(&headers).is_some_and(|seen| hosts.has(&seen.host()))
    }

    fn seen(headers: &HeaderMap) -> Option<ServerOrigin> {
        ServerOrigin::new(&TrustedProxies::default(), None, headers, &http::Uri::default())
    }

    #[test]
    fn ignores_port_and_case() {
        let hosts = AllowedHosts::new(["A.com", ".b.com"]);
        for host in ["a.com", "a.COM:8000", "b.com", "x.y.b.com:1"] {
            assert!(has(&hosts, host), "{host}");
        }
        for host in ["x.a.com", "xb.com", "a.com.evil.com", "", "a.com:x", "user@a.com", "a.com/", ".b.com"] {
            assert!(!has(&hosts, host), "{host}");
        }
    }

    #[test]
    fn local_hosts_need_no_list() {
        for host in ["localhost:8000", "127.0.0.1", "[::1]:8000", "app.localhost"] {
            assert!(has(&AllowedHosts::local(), host), "{host}");
        }
        assert!(!has(&AllowedHosts::local(), "example.com"));
        assert!(has(&AllowedHosts::new(["[2001:DB8:0::1]"]), "[2001:db8::1]:8000"));
    }

    #[test]
    fn needs_exactly_one_host() {
        let mut headers = HeaderMap::new();
        assert!(seen(&headers).is_none());
        headers.append("host", "localhost".parse().unwrap());
        headers.append("host", "localhost".parse().unwrap());
        assert!(seen(&headers).is_none());
    }
}
