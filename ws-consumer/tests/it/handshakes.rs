//! Handshakes that go beyond `bounds::a_handshake_is_strict`: the texts of refusals, and bounds.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use http::{HeaderValue, StatusCode};
use http_body_util::Empty;
use tower_service::Service;
use ws_consumer::{Result, Router, Socket};

use crate::support::{HANDSHAKE, Server, echo, raw, request, ways::Way};

/// The handshake with a further header line.
fn with(line: &[u8]) -> Vec<u8> {
    let (head, rest) = HANDSHAKE.split_at(HANDSHAKE.find("connection").unwrap());
    [head.as_bytes(), b"connection: close\r\n", line, b"\r\n", rest.as_bytes()].concat()
}

/// The head of the answer, in lower case.
async fn answer(request: &[u8]) -> String {
    let answer = raw(&Server::new(echo), request).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    String::from_utf8_lossy(&answer[..end]).to_lowercase()
}

#[tokio::test(start_paused = true)]
async fn refusals_explain_themselves() {
    for (from, to, status, told) in [
        ("GET", "POST", " 405 ", "\r\nallow: get"),
        ("GET", "PUT", " 405 ", "\r\nallow: get"),
        ("13", "8", " 426 ", "\r\nsec-websocket-version: 13"),
        ("sec-websocket-version: 13\r\n", "", " 426 ", "\r\nsec-websocket-version: 13"),
        ("connection: upgrade\r\n", "", " 426 ", "\r\nsec-websocket-version: 13"),
    ] {
        let request = HANDSHAKE.replace(from, to).replace("host", "connection: close\r\nhost");
        let answer = answer(request.as_bytes()).await;
        assert!(answer.contains(status) && answer.contains(told), "{from:?}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn accept_key_matches_the_rfc() {
    let client = Server::new(echo).connect("/").await;
    drop(client);
    let answer = answer(HANDSHAKE.as_bytes()).await;
    assert!(
        answer.starts_with("http/1.1 101 ") && answer.contains("s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{answer}"
    );
}

/// Bytes above 0x7f are accepted in headers that the server does not read itself, cookies among them.
#[tokio::test(start_paused = true)]
async fn other_headers_may_be_latin_1() {
    for byte in 0x80..=0xFF {
        let names =
            [&b"x-anything: "[..], b"\r\ncookie: a=", b"\r\nuser-agent: ", b"\r\nreferer: http://test/"];
        let lines = names.map(|name| [name, &[byte]].concat()).concat();
        assert!(answer(&with(&lines)).await.starts_with("http/1.1 101"), "{byte:#x}");
    }
}

#[tokio::test]
async fn refuses_latin_1_line_ends() {
    async fn greet(mut socket: Socket) -> Result<()> {
        match socket.is_websocket() {
            true => socket.accept().await,
            false => socket.refuse(StatusCode::NO_CONTENT).await,
        }
    }
    let protocols = ws_consumer::Protocols::new().both(greet).resume(ws_consumer::Resume::default());
    let service = protocols.into_service(std::sync::Arc::new(channel_layer::MemoryLayer::default()));
    for way in Way::ALL {
        for (name, value, status) in [
            ("x-forwarded-for", &b"1.2.3.4\x85origin: b"[..], 400),
            ("origin", b"http://test\x85", 400),
            ("x-anything", b"a\x85b", 200),
        ] {
            let headers = [("host", &b"test"[..]), (name, value)];
            let answered = way.status(&service, None, "/", &headers).await;
            assert_eq!(answered, status, "{way:?} {name}");
        }
    }
}

/// A byte that only some parsers take for a line's end or a blank could make two headers of one.
#[tokio::test(start_paused = true)]
async fn refuses_control_characters() {
    for byte in (0x00..0x20).chain(0x7F..0xA0).filter(|byte| !matches!(byte, b'\t' | b'\n' | b'\r')) {
        let line = [b"x-forwarded-for: 1.2.3.4", &[byte][..], b"origin: http://test"].concat();
        assert!(answer(&with(&line)).await.starts_with("http/1.1 400"), "{byte:#x}");
    }
    for lines in [&b"x: a\rorigin: http://test"[..], b"x: a\r\n\torigin: http://test"] {
        assert!(answer(&with(lines)).await.starts_with("http/1.1 400"), "{lines:?}");
    }
}

/// hyper's parser lets a bare line feed end a line, and what it makes of it does not tell. This test is here to fail when
/// that changes: then the row can be held.
#[tokio::test(start_paused = true)]
async fn bare_line_feeds_pass() {
    let request = HANDSHAKE.replace("\r\n", "\n");
    assert!(answer(request.as_bytes()).await.starts_with("http/1.1 101"));
}

#[tokio::test(start_paused = true)]
async fn oversized_head_is_431() {
    let lines = |count| vec!["x: 1"; count].join("\r\n");
    for (what, line) in [
        ("200 headers", lines(200)),
        ("2000 headers", lines(2000)),
        ("a header of 17 KiB", format!("x: {}", "x".repeat(17 << 10))),
        ("a header of 1 MiB", format!("x: {}", "x".repeat(1 << 20))),
        ("a name of 20 KiB", format!("{}: 1", "x".repeat(20 << 10))),
    ] {
        assert!(answer(&with(line.as_bytes())).await.starts_with("http/1.1 431"), "{what}");
    }
    let path = HANDSHAKE.replace("GET /", &format!("GET /{}", "x".repeat(64 << 10)));
    assert!(answer(path.as_bytes()).await.starts_with("http/1.1 431"), "a path longer than a head");
    for fits in [lines(90), format!("x: {}", "x".repeat(15 << 10))] {
        assert!(answer(&with(fits.as_bytes())).await.starts_with("http/1.1 101"));
    }
}

/// In one pass: a header of nothing but separators is no work.
#[test]
fn blank_offers_are_linear() {
    for unit in [" ", ",", " ,", "\t"] {
        let mut request = request("/");
        let offers = HeaderValue::from_str(&unit.repeat((64 << 10) / unit.len())).unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offers);
        // A quadratic reader would take many minutes for these.
        for _ in 0..20 {
            assert_eq!(ws_consumer::Scope::from_request(&mut request).subprotocols().count(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn offers_reach_the_application() {
    for unit in [" ", ",", " ,", "\t"] {
        let server = Server::new(echo);
        let mut request = request("/");
        let offers = HeaderValue::from_str(&unit.repeat((64 << 10) / unit.len())).unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offers);
        let proper = request.into_parts().0;
        // No connection to upgrade is behind it, so it is refused; what counts is that it is answered.
        let request = http::Request::from_parts(proper, Empty::<bytes::Bytes>::new());
        let answer = server.service.clone().call(request).await.unwrap();
        assert!(answer.status() == StatusCode::SWITCHING_PROTOCOLS || answer.status().is_client_error());
        assert!(!answer.headers().contains_key("sec-websocket-protocol"));
    }
}

/// The only text of a client in the response is the subprotocol, and it cannot add headers: a line's
/// end makes an offer invalid.
#[tokio::test(start_paused = true)]
async fn answers_echo_no_line_ends() {
    async fn agree(mut socket: Socket) -> Result<()> {
        let mut accept = ws_consumer::Accept::default();
        accept.subprotocol = socket.scope().subprotocols().next().map(str::to_owned);
        socket.accept_with(accept).await
    }
    for offer in ["a\r\nx-evil: 1", "a\nx-evil: 1", "a%0d%0ax-evil: 1", "a\u{85}x-evil: 1"] {
        let line = format!("sec-websocket-protocol: {offer}");
        let answer = raw(&Server::new(agree), &with(line.as_bytes())).await;
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        let head = answer.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.starts_with("x-evil")), "{offer:?}: {head}");
    }
}

#[tokio::test(start_paused = true)]
async fn parameters_are_decoded_once() {
    async fn tell(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        let room = socket.scope().param("room")?.to_owned();
        socket.send_text(room).await
    }
    let server = Server::new(Router::new().application("/{room}/", tell));
    for (path, room) in [
        ("/%2500/", "%00"),
        ("/a%00b/", "a\0b"),
        ("/a%2fb/", "a/b"),
        ("/%0d%0aX/", "\r\nX"),
        ("/../", ".."),
        ("/%2e%2e/", ".."),
        ("/%1b[2J/", "\x1b[2J"),
    ] {
        assert_eq!(server.connect(path).await.text().await, room, "{path}");
    }
}

/// The name of a group that a client chose through the URL.
#[tokio::test(start_paused = true)]
async fn invalid_rooms_are_refused() {
    async fn join(mut socket: Socket) -> Result<()> {
        let room = format!("chat_{}", socket.scope().param("room")?);
        socket.group_add(room).await?;
        socket.accept().await
    }
    let server = Server::new(Router::new().application("/{room}/", join));
    let long = format!("/{}/", "x".repeat(100));
    for path in ["/a%00/", "/%7Btag%7D/", "/a*/", "/%0d%0a/", "/a!b/", "/a%20b/", "/%E6%B1%89/", &long] {
        assert_eq!(server.refusal(path).await, 400, "{path}");
    }
    assert_eq!(server.layer.hub().group_count(), 0);
}
