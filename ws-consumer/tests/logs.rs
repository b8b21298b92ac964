//! The contents of the logs: one line per request for any input, and no secrets.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use ws_consumer::{
    Consumer, Error, Exchange, Frame, HttpConsumer, Limits, NoEvents, Protocols, Result, Resume, Router,
    Socket, Transport, UsersExt,
    middleware::{AllowedHosts, Guard, OriginRules, Origins, RequestIds, Traced, TrustedProxies},
};

use self::support::{
    HANDSHAKE, Server,
    captured::Captured,
    frame,
    outage::{Failing as Troubled, Trouble},
    raw,
    sessions::{ALL, SessionClient},
    ways::Way,
};

/// Obeys commands in its frames, including failures.
#[derive(Default)]
struct Told;

impl Consumer for Told {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        match socket.scope().path() {
            "/undecided" => Ok(()),
            "/gone" => Err(Error::Refused(StatusCode::GONE)),
            "/panic" => panic!("as asked"),
            "/wrong" => Err(Error::bad_input("as asked")),
            path if path.starts_with("/fail") => Err(Error::other("as asked")),
            path if path.starts_with("/bad") => {
                let scope = format!("{:?}", socket.scope());
                socket.group_add(scope).await
            }
            _ => socket.accept().await,
        }
    }
    async fn receive(&mut self, _: &mut Socket, frame: Frame) -> Result<()> {
        let _: u8 = frame.json()?;
        Err(Error::other("as asked"))
    }
}

impl HttpConsumer for Told {
    type Event = NoEvents;

    async fn handle(&mut self, exchange: &mut Exchange, _: Bytes) -> Result<()> {
        match exchange.scope().path() {
            "/fail" => Err(Error::other("as asked")),
            _ => exchange.send_response(StatusCode::OK, "").await,
        }
    }
}

fn server() -> Server {
    let router = || Router::new().consumer("/{rest:path}", Told::default);
    let origins = Origins::from(OriginRules::same_host());
    let guards = || RequestIds::new().and(Traced).and(AllowedHosts::new(["test"])).and(origins.clone());
    let requests = Router::new().http("/{rest:path}", Told::default);
    let layer = Arc::new(channel_layer::MemoryLayer::default());
    let service = Protocols::new()
        .websocket(guards().around(router()))
        .requests(guards().around(requests))
        .health_checks()
        .into_service(layer.clone() as Arc<dyn channel_layer::ChannelLayer>);
    Server { layer, service }
}

/// Causes every failure of a request with this path and these header lines, one after the other.
async fn misbehave(path: &[u8], lines: &[u8]) {
    let server = server();
    let (_, rest) = HANDSHAKE.split_once("connection").unwrap();
    let head = |method: &str, host: &[u8]| {
        let host = [b" HTTP/1.1\r\nhost: ", host, b"\r\nconnection: close\r\n"].concat();
        [method.as_bytes(), b" ", path, &host, lines].concat()
    };
    for host in [&b"test"[..], b"evil\x1b[2J"] {
        for rest in [rest, &rest.replace("13", "8")] {
            let handshake = [head("GET", host), b"connection".to_vec(), rest.as_bytes().to_vec()].concat();
            for frames in [frame(0x81, b"canary"), frame(0x81, b"7"), frame(0x83, b"canary")] {
                raw(&server, &[&handshake[..], &frames].concat()).await;
            }
        }
        for method in ["GET", "POST", "CANARY"] {
            raw(&server, &[head(method, host), b"content-length: 0\r\n\r\n".to_vec()].concat()).await;
        }
    }
    server.service.connections().close().await;
}

#[tokio::test(start_paused = true)]
async fn one_log_line_per_request() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    for path in
        [&b"/%1b[2J%0d%0aX"[..], b"/fail%0d%0a", b"/bad\x7f", b"/\xc2\x9b2J\xc2\x85X", b"/fail\xc2\x9b2J"]
    {
        for lines in [
            &b""[..],
            b"origin: http://evil\xc2\x9b2J\r\nx-request-id: a\xc2\x85b\r\n",
            b"origin: \xe2\x80\xa8\r\nuser-agent: \xc2\x9b2J\r\nsec-websocket-protocol: \xc2\x85\r\n",
            b"origin: \x1b[2J\r\n",
        ] {
            misbehave(path, lines).await;
        }
    }
    let lines = captured.take();
    for line in &lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(!line.contains(['\u{2028}', '\u{2029}']), "{line:?}");
    }
    let access = lines.iter().filter(|line| line.starts_with("ws_consumer::access"));
    assert!(access.clone().any(|line| line.contains("path=/%1b[2J%0d%0aX")), "{lines:#?}");
    assert!(access.count() > 100, "the access log was not on");
}

#[tokio::test(start_paused = true)]
async fn logs_hold_no_secrets() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    for path in ["/?token=canary", "/fail?token=canary&x=canary", "/bad?canary", "/undecided?canary"] {
        for lines in [
            "cookie: session=canary\r\nauthorization: Bearer canary\r\n",
            "sec-websocket-protocol: bearer, canary\r\norigin: http://evil\r\ncookie: a=canary\r\n",
            "origin: http://test\r\nx-forwarded-for: canary\r\nreferer: http://test/?canary\r\n",
        ] {
            misbehave(path.as_bytes(), lines.as_bytes()).await;
        }
    }
    let lines = captured.take();
    assert!(lines.len() > 100);
    for line in &lines {
        assert!(!line.contains("canary"), "{line}");
    }
}

#[tokio::test]
async fn unreached_users_are_logged_once() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let layer = channel_layer::MemoryLayer::default();
    let event = serde_json::json!({ "type": "mail.arrived" });
    for _ in 0..3 {
        for user in ["ann", "bob\x1b[2J"] {
            let _none = layer.close_user(user, 4001).await.unwrap();
            let _none = layer.send_to_user(user, &event).await.unwrap();
        }
    }
    let lines = captured.take();
    for what in ["a close reached no connection", "an event reached no connection"] {
        for user in ["user=ann", "user=bob%1B[2J"] {
            let logged = lines.iter().filter(|line| line.contains(what) && line.contains(user)).count();
            assert_eq!(logged, 1, "{what}, {user}: {lines:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_log_rule_and_values() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let rules = OriginRules::same_host().and("https://app.example/").unwrap();
    let service = Protocols::new()
        .websocket(support::echo)
        .origins(rules)
        .trust(TrustedProxies::new(["10.0.0.0/8"]).unwrap())
        .into_service(Arc::new(channel_layer::MemoryLayer::default()));
    let page = [("host", &b"a.example"[..]), ("x-forwarded-for", b"1.2.3.4")];
    let told = [("x-forwarded-proto", &b"wss"[..]), ("x-forwarded-port", b"8443")];
    for (peer, rest, compared) in [
        ("10.0.0.1:1", &told[..], "compared=https://a.example:8443"),
        ("10.0.0.1:1", &[], "compared=http(s)://a.example:*"),
        ("9.9.9.9:1", &told[..], "compared=http(s)://a.example"),
    ] {
        let headers = [&page[..], rest].concat();
        let request = Way::WebSocket.of_page("/room", "https://evil.example");
        assert_eq!(Way::WebSocket.status_of(&service, Some(peer), request, &headers).await, 403);
        let lines = captured.take();
        let refusal = lines.iter().find(|line| line.contains("message=refused")).expect("a line");
        let proxied = format!("proxied={}", peer.starts_with("10."));
        for part in [
            compared,
            &proxied,
            "path=/room",
            "origin=https://evil.example",
            "host=a.example",
            "rule=the same host, https://app.example",
        ] {
            assert!(format!("{refusal} ").contains(&format!(" {part} ")), "{part}: {refusal}");
        }
        let client = if peer.starts_with("10.") { "client=1.2.3.4" } else { "client=9.9.9.9" };
        let access = lines.iter().find(|line| line.starts_with("ws_consumer::access")).expect("a line");
        assert!(access.contains(client), "{access}");
    }
}

#[tokio::test(start_paused = true)]
async fn spans_name_the_proxied_client() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let service = Protocols::new()
        .websocket(Traced.around(support::echo))
        .trust(TrustedProxies::new(["10.0.0.0/8"]).unwrap())
        .into_service(Arc::new(channel_layer::MemoryLayer::default()));
    let headers = [("host", &b"test"[..]), ("x-forwarded-for", b"1.2.3.4")];
    assert_eq!(Way::WebSocket.status(&service, Some("10.0.0.1:1"), "/", &headers).await, 200);
    let lines = captured.take();
    assert!(lines.iter().any(|line| line.contains("client=1.2.3.4") && line.contains("peer=")), "{lines:#?}");
}

/// Fails in the way that its frames name.
struct Failing;

impl Consumer for Failing {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.text()? {
            "name" => socket.group_add("no spaces").await,
            "number" => socket.group_send("g", &5).await,
            "other" => Err(std::io::Error::other("the disk is full\n").into()),
            "handled" => Err(Error::other("handled")),
            _ => socket.group_send_json("g", "x").await,
        }
    }
    async fn error(&mut self, socket: &mut Socket, error: Error) -> Result<()> {
        match error {
            Error::Other(cause) if cause.to_string() == "handled" => Ok(()),
            error => socket.answer_error(error).await,
        }
    }
}

fn failing() -> (Arc<Troubled>, Server) {
    let layer = Arc::new(Troubled::default());
    let protocols = Protocols::new().websocket(ws_consumer::consumer(|| Failing));
    let service = protocols.into_service(layer.clone() as Arc<dyn channel_layer::ChannelLayer>);
    (layer.clone(), Server { layer: layer.memory.clone(), service })
}

fn of_level(lines: &[String], level: &str) -> Vec<String> {
    let prefix = format!(" {level} ");
    lines.iter().filter(|line| line.contains(&prefix)).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn outage_logs_once_a_second() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let (layer, server) = failing();
    let mut clients = [server.connect("/").await, server.connect("/").await];
    let mut warnings = Vec::new();
    for trouble in [Trouble::Unavailable, Trouble::TimedOut, Trouble::Unavailable] {
        layer.set(trouble);
        for _ in 0..50 {
            for client in &mut clients {
                client.send("x").await;
                assert!(client.text().await.contains("error"));
            }
        }
        tokio::time::advance(std::time::Duration::from_millis(600)).await;
        let lines = captured.take();
        assert!(of_level(&lines, "ERROR").is_empty(), "{lines:#?}");
        warnings.push(of_level(&lines, "WARN"));
    }
    assert_eq!(warnings.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1], "{warnings:#?}");
    assert!(warnings[0][0].contains("WRONGPASS") && warnings[0][0].contains("failures=1"), "{warnings:#?}");
    assert!(warnings[0][0].contains("hook=receive") && warnings[0][0].contains("path=/"), "{warnings:#?}");
    assert!(warnings[2][0].contains("failures=100"), "{warnings:#?}");
}

#[tokio::test(start_paused = true)]
async fn server_faults_log_their_location() {
    for (said, part) in
        [("name", "byte 2"), ("number", "a message must be a map"), ("other", "the disk is full")]
    {
        let captured = Captured::default();
        let _guard = tracing::subscriber::set_default(captured.clone());
        let (_, server) = failing();
        let mut client = server.connect("/").await;
        client.send(said).await;
        assert_eq!(client.close_code().await, 1011);
        let errors = of_level(&captured.take(), "ERROR");
        assert_eq!(errors.len(), 1, "{said}: {errors:#?}");
        assert!(errors[0].contains(part), "{errors:#?}");
        assert!(said == "other" || errors[0].contains("tests/logs.rs:"), "{errors:#?}");
        assert!(!errors[0].contains('\n'));
    }
}

#[tokio::test(start_paused = true)]
async fn handled_errors_are_not_logged() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let (_, server) = failing();
    let mut client = server.connect("/").await;
    client.send("handled").await;
    client.send("").await;
    client.leave().await;
    assert!(of_level(&captured.take(), "ERROR").is_empty());
}

#[tokio::test(start_paused = true)]
async fn failing_applications_are_logged() {
    async fn fails(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        socket.next().await?;
        socket.group_add("no spaces").await
    }
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let server = Server::new(fails);
    let mut client = server.connect("/").await;
    client.send("x").await;
    assert_eq!(client.close_code().await, 1011);
    let errors = of_level(&captured.take(), "ERROR");
    assert!(errors.len() == 1 && errors[0].contains("tests/logs.rs:"), "{errors:#?}");
}

/// Each case: the bytes that a client sends in front of `Traced`, and a part of the last log entry.
#[tokio::test(start_paused = true)]
async fn access_log_has_status_or_code() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let upgrade = HANDSHAKE.split_once("connection").unwrap().1;
    let socket =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection{upgrade}").into_bytes();
    let plain =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").into_bytes();
    for (request, expected) in [
        (socket("/undecided"), "status=403"),
        (socket("/fail"), "status=500"),
        (socket("/wrong"), "status=400"),
        (socket("/gone"), "status=410"),
        (socket("/panic"), "status=500"),
        ([socket("/x"), frame(0x81, b"7")].concat(), "code=1011"),
        ([socket("/x"), frame(0x88, &[0x03, 0xe8])].concat(), "code=1000"),
        (plain("/x"), "status=200"),
        (plain("/fail"), "status=500"),
    ] {
        let server = server();
        raw(&server, &request).await;
        server.service.connections().close().await;
        let lines = captured.take();
        let entries: Vec<_> = lines.iter().filter(|line| line.contains("message=ended")).collect();
        assert_eq!(entries.len(), 1, "{expected}: {lines:#?}");
        assert!(entries[0].contains(&format!(" {expected}")), "{expected}: {}", entries[0]);
        let both = entries[0].contains("status=") && entries[0].contains("code=");
        assert!(!both, "{}", entries[0]);
    }
}

/// Each case: the bytes that a client sends, and parts of the access log's entries, in order.
#[tokio::test(start_paused = true)]
async fn access_log_has_responses_and_ends() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let upgrade = HANDSHAKE.split_once("connection").unwrap().1;
    let socket =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection{upgrade}").into_bytes();
    let plain =
        |line: &str| format!("{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").into_bytes();
    for (request, expected) in [
        (plain("GET /x?secret"), &["method=GET path=/x status=200 bytes="][..]),
        (plain("HEAD /fail"), &["method=HEAD path=/fail status=500 bytes=0 seconds="]),
        (socket("/gone"), &["method=GET path=/gone status=410 bytes=0 seconds="]),
        ([socket("/x"), frame(0x81, b"7")].concat(), &["status=101 bytes=0", "path=/x code=1011 seconds="]),
        ([socket("/x"), frame(0x88, &[0x03, 0xe8])].concat(), &["status=101 bytes=0", "path=/x code=1000"]),
        (socket("/x"), &["status=101 bytes=0", "path=/x code=1006"]),
    ] {
        let server = server();
        raw(&server, &request).await;
        server.service.connections().close().await;
        let lines = captured.take();
        let entries: Vec<_> = lines.iter().filter(|line| line.starts_with("ws_consumer::access")).collect();
        assert_eq!(entries.len(), expected.len(), "{expected:?}: {lines:#?}");
        for (entry, part) in entries.iter().zip(expected) {
            assert!(entry.contains(part), "{part}: {entry}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_log_one_end() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let layer = Arc::new(channel_layer::MemoryLayer::default());
    let server = Server::with_sessions(support::echo, &layer, Resume::default(), Limits::default());
    for (first, code) in ALL.into_iter().flat_map(|transport| [(transport, 1000), (transport, 1006)]) {
        let mut client = SessionClient::connected(&server.service, "/x?secret", first).await;
        client.cut();
        client.connect(Transport::WebSocket).await.unwrap();
        match code {
            1000 => client.close(code).await,
            _ => client.cut(),
        }
        tokio::time::sleep(2 * Resume::default().ttl).await;
        let lines = captured.take();
        let ends: Vec<_> =
            lines.iter().filter(|line| line.contains("access INFO") && line.contains("code=")).collect();
        let expected = format!("method=GET path=/x code={code} seconds=");
        assert!(ends.len() == 1 && ends[0].contains(&expected), "{first:?} {expected}: {lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn full_sessions_log_once_a_second() {
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.clone());
    let layer = Arc::new(channel_layer::MemoryLayer::default());
    for (refuses, message) in [(true, "no room for another session"), (false, "end early")] {
        let mut transports = Resume::default();
        match refuses {
            true => transports.max_sessions = 1,
            false => transports.max_waiting_per_address = 1,
        }
        let router = || Router::new().consumer("/{rest:path}", Told::default);
        let server = Server::with_sessions(router(), &layer, transports, Limits::default());
        let body = "{\"mode\":\"poll\"}\n";
        let request = format!(
            "POST /x HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        for _ in 0..2 {
            for _ in 0..50 {
                raw(&server, request.as_bytes()).await;
            }
            tokio::time::advance(std::time::Duration::from_secs(2)).await;
        }
        let lines = captured.take();
        let told: Vec<_> = lines.iter().filter(|line| line.contains(message)).collect();
        assert_eq!(told.len(), 2, "{told:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_name_their_hook() {
    struct Failing;
    impl Consumer for Failing {
        type Event = serde_json::Value;
        const GROUPS: &'static [&'static str] = &["all"];
        async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
            match frame.text()? {
                "panic" => panic!("a test panics"),
                "event" => socket.group_send("all", &serde_json::json!({ "type": "fail" })).await,
                _ => Err("a failure".into()),
            }
        }
        async fn event(&mut self, _: &mut Socket, _: &serde_json::Value) -> Result<()> {
            Err("a failure".into())
        }
    }
    let captured = Captured::default();
    let _default = tracing::subscriber::set_default(captured.clone());
    for (frame, hook) in [("fail", "receive"), ("panic", "receive"), ("event", "event")] {
        let server = Server::new(ws_consumer::consumer(|| Failing));
        let mut client = server.connect("/x").await;
        captured.take();
        client.send(frame).await;
        assert_eq!(client.close_code().await, 1011, "{frame}");
        let lines = captured.take();
        let failures: Vec<_> = lines.iter().filter(|line| line.contains("a consumer failed")).collect();
        assert_eq!(failures.len(), 1, "{frame}: {lines:#?}");
        let expected = format!("hook={hook}");
        assert!(failures[0].contains(&expected) && failures[0].contains("path=/x"), "{failures:#?}");
    }
}
