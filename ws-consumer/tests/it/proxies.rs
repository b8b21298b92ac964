//! The origin that a page sees, behind real proxies, over every transport.

use std::sync::Arc;

use channel_layer::MemoryLayer;
use http::StatusCode;
use ws_consumer::{
    NotFound, Origins, Protocols, Result, Resume, Router, Socket, SocketService,
    middleware::{AllowedHosts, Guard, GuardRequest, OriginRules, TrustedProxies},
};

use crate::support::ways::Way;

const PROXY: &str = "10.0.0.1:1";
const OTHER: &str = "9.9.9.9:1";

async fn greet(mut socket: Socket) -> Result<()> {
    match socket.is_websocket() {
        true => socket.accept().await,
        false => socket.refuse(StatusCode::NO_CONTENT).await,
    }
}

/// Acts on cookies, so that plain requests are looked at too.
struct Ambient;

impl Guard for Ambient {
    async fn admit(&self, _: &mut GuardRequest<'_>) -> Result<(), ws_consumer::Refuse> {
        Ok(())
    }

    fn uses_ambient_credentials(&self) -> bool {
        true
    }
}

fn service(origins: impl Into<Origins>, trusted: &[&str]) -> SocketService<NotFound> {
    Protocols::new()
        .both(Ambient.around(Router::new().application("/", greet)))
        .origins(origins)
        .trust(TrustedProxies::new(trusted).expect("addresses"))
        .resume(Resume::default())
        .into_service(Arc::new(MemoryLayer::default()))
}

/// Returns the status that a page of this origin gets, the same over every transport.
async fn verdict(
    service: &SocketService<NotFound>,
    peer: Option<&str>,
    origin: &str,
    lines: &[(&'static str, &str)],
) -> u16 {
    let headers: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let mut all = Vec::new();
    for way in Way::ALL {
        all.push(way.status_of(service, peer, way.of_page("/", origin), &headers).await);
    }
    assert!(all.iter().all(|status| *status == all[0]), "{origin} {lines:?}: {all:?}");
    all[0]
}

type Lines = &'static [(&'static str, &'static str)];

/// The headers of a proxy, a page's own origin behind it, and one that is another's.
const SPOKEN: &[(Lines, &str, &str)] = &[
    (&[("host", "a.example"), ("x-forwarded-proto", "wss")], "https://a.example", "http://a.example"),
    (&[("host", "a.example"), ("x-forwarded-proto", "ws")], "http://a.example", "https://a.example"),
    (&[("host", "a.example"), ("x-forwarded-proto", "https,http")], "https://a.example", "http://a.example"),
    (
        &[("host", "in:80"), ("forwarded", "proto=https;host=\"a.example:8443\"")],
        "https://a.example:8443",
        "https://a.example",
    ),
    (
        &[("host", "in"), ("forwarded", "for=1.2.3.4;host=a.example;proto=https, for=10.0.0.2;proto=http")],
        "https://a.example",
        "http://a.example",
    ),
    (
        &[("host", "a.example"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")],
        "https://a.example:8443",
        "https://a.example",
    ),
    (
        &[("host", "in"), ("x-forwarded-host", "a.example:8443"), ("x-forwarded-proto", "https")],
        "https://a.example:8443",
        "https://a.example:8444",
    ),
    (&[("host", "a.example"), ("x-forwarded-proto", "https")], "https://a.example:8443", "https://b.example"),
    (&[("host", "a.example")], "https://a.example:8443", "https://in"),
    (&[("host", "a.example"), ("x-forwarded-proto", " WSS ")], "https://A.Example:443", "http://a.example"),
    (
        &[
            ("host", "in"),
            ("forwarded", "for=\"[2001:db8::1]:4711\";proto=HTTPS;host=A.example"),
            ("forwarded", "For=10.0.0.2;Proto=http;by=\"_x\""),
        ],
        "https://a.example",
        "http://a.example",
    ),
    (
        &[("host", "in"), ("x-forwarded-host", "[2001:DB8:0::1]:8443"), ("x-forwarded-proto", "Https, http")],
        "https://[2001:db8::1]:8443",
        "https://[2001:db8::2]:8443",
    ),
    (
        &[("host", "xn--bcher-kva.example:443"), ("x-forwarded-proto", "https")],
        "https://xn--bcher-kva.example",
        "https://xn--bcher-kva.example:444",
    ),
    (&[("host", "[::1]:8000"), ("x-forwarded-proto", "http")], "http://[::1]:8000", "http://[::1]"),
];

#[tokio::test]
async fn own_pages_pass_on_all_transports() {
    for origins in [Origins::SameHost, OriginRules::same_host().into()] {
        for (trusted, peer) in [("10.0.0.0/8", Some(PROXY)), ("unix:", None)] {
            let service = service(origins.clone(), &[trusted, "10.0.0.0/8"]);
            for (lines, own, other) in SPOKEN {
                assert_eq!(verdict(&service, peer, own, lines).await, 200, "{own} {lines:?}");
                assert_eq!(verdict(&service, peer, other, lines).await, 403, "{other} {lines:?}");
            }
        }
    }
}

#[tokio::test]
async fn untrusted_headers_are_ignored() {
    let service = service(Origins::SameHost, &["10.0.0.0/8"]);
    for told in [("x-forwarded-host", "a.example"), ("forwarded", "host=a.example")] {
        for peer in [Some(OTHER), None] {
            let lines = [("host", "in"), told, ("x-forwarded-proto", "http")];
            assert_eq!(verdict(&service, peer, "https://a.example", &lines).await, 403, "{told:?}");
            assert_eq!(verdict(&service, peer, "https://in", &lines).await, 200, "the scheme is not known");
        }
    }
    let lines = [("host", "a.example"), ("x-forwarded-port", "8443")];
    assert_eq!(verdict(&service, Some(OTHER), "https://a.example:8443", &lines).await, 403);
}

#[tokio::test]
async fn rules_use_their_own_proxies() {
    let own = OriginRules::same_host().trust(TrustedProxies::new(["9.9.9.9"]).expect("an address"));
    let service = service(own, &["10.0.0.0/8"]);
    let lines = [("host", "in"), ("x-forwarded-host", "a.example")];
    assert_eq!(verdict(&service, Some(OTHER), "https://a.example", &lines).await, 200);
    assert_eq!(verdict(&service, Some(PROXY), "https://a.example", &lines).await, 403);
}

#[tokio::test]
async fn listed_origins_pass_everywhere() {
    let rules = ["https://app.example/", "file://", "https://in.example"];
    let rules = rules.into_iter().try_fold(OriginRules::listed(), |rules, one| rules.and(one));
    let service = service(rules.expect("patterns"), &[]);
    for (origin, status) in [
        ("https://app.example", 200),
        ("https://app.example/", 200),
        ("https://in.example", 200),
        ("http://in.example", 403),
        ("https://app.example:8443", 403),
    ] {
        assert_eq!(verdict(&service, None, origin, &[("host", "in.example")]).await, status, "{origin}");
    }
    // What is loaded from a file names it so, also when it reads.
    for (origin, status) in [("file://", 200), ("null", 403), ("app://x", 403)] {
        for way in Way::ALL {
            let headers = [("host", &b"in.example"[..]), ("origin", origin.as_bytes())];
            assert_eq!(way.status(&service, None, "/", &headers).await, status, "{way:?} {origin}");
        }
    }
}

/// Pages can set neither header, and a browser that omits one sends the other.
#[tokio::test]
async fn streams_are_judged_by_host() {
    let service = service(Origins::SameHost, &["10.0.0.0/8"]);
    for (site, status) in [("same-origin", 200), ("same-site", 403), ("cross-site", 403), ("none", 403)] {
        let headers =
            [("host", &b"a.example"[..]), ("x-forwarded-proto", b"wss"), ("sec-fetch-site", site.as_bytes())];
        let answered = Way::EventStream.status(&service, Some(PROXY), "/", &headers).await;
        assert_eq!(answered, status, "{site}");
    }
}

// ---- the host

#[tokio::test]
async fn forged_hosts_need_a_list() {
    let bare = service(Origins::SameHost, &[]);
    let lines = [("host", "evil")];
    assert_eq!(verdict(&bare, None, "http://evil", &lines).await, 200, "documented at `Origins`");
    for second in ["evil", "a.example"] {
        let lines = [("host", "a.example"), ("host", second)];
        assert_eq!(verdict(&bare, None, "http://a.example", &lines).await, 400, "a second host: {second}");
    }
    let listed = Protocols::new()
        .both(AllowedHosts::new(["a.example"]).around(Ambient.around(greet)))
        .trust(TrustedProxies::new(["10.0.0.0/8"]).expect("a network"))
        .resume(Resume::default())
        .into_service(Arc::new(MemoryLayer::default()));
    assert_eq!(verdict(&listed, None, "http://evil", &lines).await, 400);
    assert_eq!(verdict(&listed, None, "http://a.example", &[("host", "a.example")]).await, 200);
    let forwarded = [("host", "in"), ("forwarded", "host=\"a.example:8443\"")];
    assert_eq!(verdict(&listed, Some(PROXY), "https://a.example:8443", &forwarded).await, 200);
    let forwarded = [("host", "a.example"), ("x-forwarded-host", "evil")];
    assert_eq!(verdict(&listed, Some(PROXY), "https://evil", &forwarded).await, 400);
}

// ---- clients that name no origin

fn two_routes() -> SocketService<NotFound> {
    let inner = Router::new().application("/cookies", Ambient.around(greet)).application("/plain", greet);
    Protocols::new()
        .both(Router::new().nest("/in", inner).application("/cookies", Ambient.around(greet)))
        .resume(Resume::default())
        .into_service(Arc::new(MemoryLayer::default()))
}

#[tokio::test]
async fn only_cookie_routes_need_an_origin() {
    let service = two_routes();
    for (path, cookie, status) in [
        ("/in/plain", Some("a=1"), 200),
        ("/in/plain", None, 200),
        ("/in/cookies", Some("a=1"), 403),
        ("/cookies", Some("a=1"), 403),
        ("/cookies", Some(""), 403),
        ("/in/cookies", None, 200),
        ("/cookies", None, 200),
    ] {
        for way in Way::ALL {
            let mut headers = vec![("host", &b"test"[..])];
            headers.extend(cookie.map(|cookie| ("cookie", cookie.as_bytes())));
            let answered = way.status(&service, None, path, &headers).await;
            assert_eq!(answered, status, "{way:?} {path} {cookie:?}");
        }
    }
}

#[tokio::test]
async fn route_rules_equal_service_rules() {
    let rules = || Origins::from(OriginRules::same_host());
    let strict = Origins::from(OriginRules::same_host().deny_missing());
    let lax = Origins::from(OriginRules::same_host().allow_missing());
    let routes = Router::new()
        .application("/own", rules().around(Ambient.around(greet)))
        .application("/strict", strict.around(greet))
        .application("/lax", lax.around(Ambient.around(greet)));
    let service = Protocols::new()
        .both(routes)
        .origins(Origins::Any)
        .resume(Resume::default())
        .into_service(Arc::new(MemoryLayer::default()));
    for (path, cookie, status) in
        [("/own", true, 403), ("/own", false, 200), ("/strict", false, 403), ("/lax", true, 200)]
    {
        for way in Way::ALL {
            let mut headers = vec![("host", &b"test"[..])];
            headers.extend(cookie.then_some(("cookie", &b"a=1"[..])));
            let answered = way.status(&service, None, path, &headers).await;
            assert_eq!(answered, status, "{way:?} {path} {cookie}");
        }
    }
}
