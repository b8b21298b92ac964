use std::net::IpAddr;

use http::HeaderMap;

use super::{trusted::FOR, *};

fn client(peer: &str, lists: &[&[u8]]) -> String {
    let mut headers = HeaderMap::new();
    for list in lists {
        headers.append(FOR, http::HeaderValue::from_bytes(list).unwrap());
    }
    let proxies = TrustedProxies::new(["10.0.0.0/8", "::1"]).unwrap();
    proxies.client(Some(peer.parse().unwrap()), &headers).unwrap().to_string()
}

#[test]
fn lists_need_a_trusted_peer() {
    assert_eq!(client("9.9.9.9:1", &[b"1.2.3.4"]), "9.9.9.9");
    assert_eq!(client("10.0.0.1:1", &[b"1.2.3.4"]), "1.2.3.4");
    assert_eq!(client("[::1]:1", &[b"[2001:db8::1]:443"]), "2001:db8::1");
    assert_eq!(client("[::ffff:10.0.0.1]:1", &[b"1.2.3.4:5"]), "1.2.3.4");
    assert_eq!(client("10.0.0.1:1", &[]), "10.0.0.1");
}

#[test]
fn mapped_networks_are_ipv4() {
    for (network, trusted) in [
        ("::ffff:10.0.0.1", true),
        ("::ffff:10.0.0.0/104", true),
        ("::ffff:10.1.0.0/112", false),
        ("::/0", false),
    ] {
        let proxies = TrustedProxies::new([network]).unwrap();
        for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
            let peer: IpAddr = peer.parse().unwrap();
            assert_eq!(proxies.trusts(Some(peer.to_canonical())), trusted, "{network} {peer}");
        }
    }
}

#[test]
fn the_rightmost_client_counts() {
    assert_eq!(client("10.0.0.1:1", &[b"6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
    assert_eq!(client("10.0.0.1:1", &[b"6.6.6.6", b"1.2.3.4"]), "1.2.3.4");
    assert_eq!(client("10.0.0.1:1", &[b"10.0.0.3"]), "10.0.0.3");
}

#[test]
fn garbage_ends_trust() {
    for list in [&b"1.2.3.4, x"[..], b"", b"\xff", b"1.2.3.4,", b"999.1.1.1"] {
        assert_eq!(client("10.0.0.1:1", &[list]), "10.0.0.1", "{list:?}");
    }
}

#[test]
fn trusts_unix_sockets_by_name() {
    let mut headers = HeaderMap::new();
    headers.insert(FOR, "1.2.3.4".parse().unwrap());
    let client = |proxies: &[&str]| TrustedProxies::new(proxies).unwrap().client(None, &headers);
    assert_eq!(client(&["unix:"]), "1.2.3.4".parse().ok());
    assert_eq!(client(&["10.0.0.0/8"]), None);
}

#[test]
fn reads_both_kinds_of_headers() {
    let both = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    let (rfc, x) = (both.clone().forwarded_only(), both.clone().x_forwarded_only());
    let peer = "10.0.0.1:1".parse().ok();
    let client = |proxies: &TrustedProxies, lines: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        proxies.client(peer, &headers).unwrap().to_string()
    };
    let forwarded = ("forwarded", "for=6.6.6.6, for=1.2.3.4;proto=https, for=\"10.0.0.2:80\"");
    assert_eq!(client(&both, &[forwarded]), "1.2.3.4");
    assert_eq!(client(&both, &[forwarded, ("x-forwarded-for", "5.5.5.5")]), "5.5.5.5");
    assert_eq!(client(&rfc, &[forwarded, ("x-forwarded-for", "5.5.5.5")]), "1.2.3.4");
    assert_eq!(client(&x, &[forwarded]), "10.0.0.1");
    for hidden in ["for=unknown", "for=_x, for=10.0.0.2;x=\"", "proto=https", "for=1.2.3.4, host"] {
        assert!(client(&both, &[("forwarded", hidden)]).starts_with("10."), "{hidden}");
    }
}

/// Pairs of a trusted proxy's headers and the origin that a page then has.
#[test]
fn origins_follow_the_proxies() {
    for (lines, seen) in [
        (&[("host", "a")][..], "http(s)://a:*"),
        (&[("host", "a:8000")], "http(s)://a:8000"),
        (&[("host", "a"), ("x-forwarded-proto", "wss")], "https://a:*"),
        (&[("host", "a:81"), ("x-forwarded-proto", "ws")], "http://a:81"),
        (&[("host", "a:1"), ("x-forwarded-proto", "HTTPS")], "https://a:1"),
        (&[("host", "a:1"), ("x-forwarded-proto", "https,http")], "https://a:1"),
        (&[("host", "a:1"), ("x-forwarded-proto", " , https , http")], "https://a:1"),
        (&[("host", "a:1"), ("x-forwarded-proto", "gopher")], "http(s)://a:1"),
        (&[("host", "b"), ("x-forwarded-host", "A.b")], "http(s)://a.b"),
        (&[("host", "b"), ("x-forwarded-host", "a:8443"), ("x-forwarded-port", "443")], "http(s)://a:8443"),
        (&[("host", "b"), ("x-forwarded-host", "evil, a")], "http(s)://a"),
        (&[("host", "a"), ("x-forwarded-port", "8443"), ("x-forwarded-proto", "https")], "https://a:8443"),
        (&[("host", "a"), ("x-forwarded-port", "80"), ("x-forwarded-proto", "https")], "https://a"),
        (&[("host", "a"), ("x-forwarded-port", "443"), ("x-forwarded-proto", "http")], "http://a"),
        (&[("host", "a:1"), ("x-forwarded-port", "x")], "http(s)://a:1"),
        (&[("host", "b"), ("forwarded", "proto=https;host=\"a:8443\"")], "https://a:8443"),
        (&[("host", "b"), ("forwarded", "host=evil, for=1.2.3.4;host=a;proto=http")], "http://a"),
        (&[("host", "b"), ("forwarded", "for=1.2.3.4;proto=https;host=a, for=10.0.0.2;host=b")], "https://a"),
        (&[("host", "b"), ("forwarded", "for=1.2.3.4;host=a, for=10.0.0.2")], "http(s)://a"),
        (&[("host", "a:1"), ("forwarded", "host=\"open")], "http(s)://a:1"),
        (
            &[("host", "b"), ("x-forwarded-host", "a, b"), ("x-forwarded-for", "1.2.3.4, 10.0.0.2")],
            "http(s)://a",
        ),
        (&[("host", "b"), ("x-forwarded-host", "user@a")], "nothing"),
        (&[], "nothing"),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        let found = |peer: &str| {
            let seen = ServerOrigin::new(&proxies, peer.parse().ok(), &headers, &http::Uri::default());
            seen.map_or("nothing".to_owned(), |seen| seen.to_string())
        };
        assert_eq!(found("10.0.0.1:1"), seen, "{lines:?}");
        let host = lines.iter().find(|(name, _)| *name == "host");
        let expected = host.map_or("nothing".to_owned(), |(_, host)| format!("http(s)://{host}"));
        assert_eq!(found("9.9.9.9:1"), expected, "not trusted: {lines:?}");
    }
}
