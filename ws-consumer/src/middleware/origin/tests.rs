use http::Request;

use super::*;

const OK: Result<(), StatusCode> = Ok(());
const FORBIDDEN: Result<(), StatusCode> = Err(StatusCode::FORBIDDEN);

fn scope(headers: &[(&str, &str)]) -> Scope {
    let request =
        headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
    Scope::from_request(&mut request.body(()).unwrap())
}

fn check(origins: &Origins, headers: &[(&str, &str)]) -> Result<(), StatusCode> {
    origins.check(&(&scope(headers)).into(), true)
}

fn same_host(host: &str, origins: &[&str]) -> Result<(), StatusCode> {
    let mut headers = vec![("host", host)];
    headers.extend(origins.iter().map(|origin| ("origin", *origin)));
    check(&Origins::SameHost, &headers)
}

fn listed(pattern: &str, origin: &str) -> Result<(), StatusCode> {
    let rules = OriginRules::listed().and(pattern).unwrap();
    check(&rules.into(), &[("host", "server"), ("origin", origin)])
}

#[test]
fn admits_the_same_host() {
    for (host, origin) in [
        ("a.com", "http://a.com"),
        ("a.com", "https://A.com"),
        ("a.com:8000", "http://a.com:8000"),
        ("a.com:80", "http://a.com"),
        ("a.com", "https://a.com:443"),
        ("a.com:443", "https://a.com"),
        ("a.com", "http://a.com/"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("[0:0:0::1]:8000", "http://[::1]:8000"),
        ("[2001:DB8::1]", "https://[2001:db8:0::1]"),
    ] {
        assert_eq!(same_host(host, &[origin]), OK, "{host} {origin}");
    }
    assert_eq!(same_host("a.com", &[]), OK);
}

#[test]
fn refuses_other_origins() {
    for origin in [
        "http://b.com",
        "http://a.com.b.com",
        "http://xa.com",
        "http://a.com:8000",
        "https://a.com:80",
        "null",
        "",
        "something",
        "a.com",
        "ftp://a.com",
        "file://a.com",
        "chrome-extension://a.com",
        "http://user@a.com",
        "http://a.com/path",
        "http://a.com:99999",
        "http://a.com:",
        "http://[",
        "http://a.com.",
        "http://",
        "://a.com",
        "http://a.com, http://a.com",
        "http://a.com//",
        "file://",
        "file:///",
    ] {
        assert_eq!(same_host("a.com", &[origin]), FORBIDDEN, "{origin}");
    }
    let mut headers = scope(&[("host", "a.com")]);
    headers.headers.insert("origin", http::HeaderValue::from_bytes(b"http://a.com\xff").unwrap());
    assert_eq!(Origins::SameHost.check(&(&headers).into(), true), FORBIDDEN);
}

#[test]
fn two_origins_are_a_bad_request() {
    for second in ["http://a.com", "http://evil.com"] {
        assert_eq!(same_host("a.com", &["http://a.com", second]), Err(StatusCode::BAD_REQUEST));
    }
}

#[test]
fn any_admits_all() {
    assert_eq!(check(&Origins::Any, &[("host", "a.com"), ("origin", "http://b.com")]), OK);
    assert_eq!(Origins::Any.check(&(&scope(&[])).into(), false), OK);
}

/// The measured table of the original's validator, and where this one differs on purpose.
#[test]
fn patterns_admit() {
    for (origin, pattern) in [
        ("https://a.com:8443", "a.com"),
        ("http://A.com", "a.com"),
        ("http://a.com", "http://a.com:80"),
        ("https://a.com:443", "https://a.com"),
        ("http://[::1]:8000", "[::1]"),
        ("http://[2001:db8::1]", "http://[2001:DB8:0:0::1]"),
        ("http://x.a.com", ".a.com"),
        ("http://a.com", ".a.com"),
        ("http://x.a.com:8080", "http://.a.com:8080"),
        ("foo://a.com", "foo://a.com"),
        ("http://allowed-domain.com", "allowed-domain.com"),
        ("http://a.com", "HTTP://A.com"),
        // Differs: the original cannot let it in at all.
        ("null", "null"),
        ("file://", "file://"),
        ("file:///", "file://"),
        ("file://", "FILE:///"),
        ("https://a.com/", "https://a.com"),
        ("https://a.com", "https://a.com/"),
        ("http://a.com:8000", "a.com:8000/"),
        ("https://x.a.com", "https://.a.com/"),
        ("capacitor://localhost", "capacitor://localhost/"),
    ] {
        assert_eq!(listed(pattern, origin), OK, "{origin} {pattern}");
    }
}

#[test]
fn patterns_refuse() {
    for (origin, pattern) in [
        ("", "a.com"),
        ("null", "a.com"),
        ("something", "a.com"),
        ("https://a.com", "http://a.com"),
        ("http://xa.com", ".a.com"),
        ("http://.a.com", ".a.com"),
        ("http://x.a.com:8080", "http://.a.com"),
        ("http://a.com", "a.com:8000"),
        ("http://bad-domain.com", "allowed-domain.com"),
        ("http://a.com.", "a.com"),
        // Differs: the original lets these in.
        ("foo://a.com", "a.com"),
        ("http://a.com:99999", "a.com"),
        ("https://evil@a.com", "a.com"),
        // Differs: these break the original.
        ("http://a.com:99999", "http://a.com"),
        ("http://[", "a.com"),
        ("http://[::2]", "[::1]"),
        ("file://", "null"),
        ("null", "file://"),
        ("file://a", "file://"),
        ("file://", "a.com"),
        ("app://", "file://"),
        ("https://a.com//", "https://a.com"),
        ("https://a.com/x", "https://a.com/"),
    ] {
        assert_eq!(listed(pattern, origin), FORBIDDEN, "{origin} {pattern}");
    }
}

#[test]
fn rejects_bad_patterns() {
    for pattern in [
        "*",
        "*.a.com",
        "http://",
        "http:///",
        "https://",
        "",
        "/",
        "a.com/path",
        "a.com//",
        "user@a.com",
        "a.com:",
        "://a.com",
        "a b",
        ".",
        "b\u{fc}cher.example",
    ] {
        assert!(pattern.parse::<OriginPattern>().is_err(), "{pattern}");
    }
    assert!("*".parse::<OriginPattern>().unwrap_err().to_string().contains("Origins::Any"));
    assert!(
        "https://b\u{fc}cher.example".parse::<OriginPattern>().unwrap_err().to_string().contains("Punycode")
    );
}

#[test]
fn ambient_credentials_need_an_origin() {
    let without = scope(&[("host", "a.com")]);
    assert_eq!(Origins::SameHost.check(&(&without).into(), false), FORBIDDEN);
    let allowed = Origins::from(OriginRules::same_host().allow_missing());
    assert_eq!(allowed.check(&(&without).into(), false), OK);
    let denied = Origins::from(OriginRules::same_host().deny_missing());
    assert_eq!(denied.check(&(&without).into(), true), FORBIDDEN);
}

#[test]
fn proxies_must_be_trusted() {
    let origins = Origins::from(OriginRules::same_host().trust(TrustedProxies::new(["10.0.0.1"]).unwrap()));
    let mut scope = scope(&[
        ("host", "inner:8000"),
        ("x-forwarded-host", "a.com"),
        ("x-forwarded-proto", "https"),
        ("origin", "https://a.com"),
    ]);
    scope.peer = "10.0.0.1:1".parse().ok();
    assert_eq!(origins.check(&(&scope).into(), true), OK);
    scope.peer = "10.0.0.2:1".parse().ok();
    assert_eq!(origins.check(&(&scope).into(), true), FORBIDDEN);
    scope.peer = "10.0.0.1:1".parse().ok();
    scope.headers.insert("origin", "http://a.com".parse().unwrap());
    assert_eq!(origins.check(&(&scope).into(), true), FORBIDDEN, "another scheme than the client spoke");
}

#[test]
fn plain_reads_need_no_origin() {
    let admit = |request: Request<()>| {
        let (mut parts, ()) = request.into_parts();
        let mut request = GuardRequest::from_request(&mut parts);
        let origins = Origins::from(OriginRules::same_host().deny_missing());
        futures_util::FutureExt::now_or_never(async move { origins.admit(&mut request).await })
            .unwrap()
            .is_ok()
    };
    assert!(admit(Request::get("/").header("host", "a.com").body(()).unwrap()));
    assert!(!admit(Request::post("/").header("host", "a.com").body(()).unwrap()));
    assert!(admit(
        Request::post("/").header("host", "a.com").header("origin", "http://a.com").body(()).unwrap()
    ));
    assert!(!admit(
        Request::get("/").header("host", "a.com").header("origin", "http://b.com").body(()).unwrap()
    ));
}
