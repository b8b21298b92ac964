//! The bounds of what a client can make a server spend, and the answer to clients that exceed them.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer, Message};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio_tungstenite::{client_async, connect_async, tungstenite};
use ws_consumer::{
    Drain, Limits, OutputLimits, OverflowPolicy, Protocols, Result, Router, Socket, listeners, serve,
};

use crate::support::{HANDSHAKE, Server, close_code, echo, frame, raw, raw_frames, request, timed};

/// The status of the answer to a request.
async fn status(request: &str) -> u16 {
    let answer = raw(&Server::new(echo), request.as_bytes()).await;
    let text = String::from_utf8_lossy(&answer);
    text.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no answer: {text:?}"))
}

// ---- handshakes

#[tokio::test]
async fn a_handshake_is_strict() {
    let with = |from: &str, to: &str| HANDSHAKE.replace(from, to);
    let add = |line: &str| HANDSHAKE.replace("host: test\r\n", &format!("host: test\r\n{line}\r\n"));
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    for (what, request, expected) in [
        ("POST", with("GET", "POST"), 405),
        ("HTTP/1.0", with("HTTP/1.1", "HTTP/1.0"), 400),
        ("no host", with("host: test\r\n", ""), 400),
        ("two hosts", add("host: other"), 400),
        ("a short key", with("dGhlIHNhbXBsZSBub25jZQ==", "AAAA"), 400),
        ("a key that is no base64", with("dGhl", "dG!l"), 400),
        ("two keys", add(key), 400),
        ("version 8", with("13", "8"), 426),
        ("no version", with("sec-websocket-version: 13\r\n", ""), 426),
        ("no connection header", with("connection: upgrade\r\n", ""), 426),
        ("two origins", add("origin: http://test\r\norigin: http://test"), 400),
        ("another origin", add("origin: http://evil"), 403),
        ("a vertical tab in a value", add("x: a\u{b}b"), 400),
        ("NUL in a value", add("x: a\0b"), 400),
        ("a folded header", add("x: a\r\n b"), 400),
        ("a space before the colon", add("x : a"), 400),
        ("a length and chunks", add("content-length: 3\r\ntransfer-encoding: chunked"), 400),
        ("a body", add("content-length: 3"), 400),
        ("200 headers", add(&vec!["x: 1"; 200].join("\r\n")), 431),
        ("a header of 64 KiB", add(&format!("x: {}", "x".repeat(65_536))), 431),
        ("a path of 70,000 bytes", with("GET /", &format!("GET /{}", "x".repeat(70_000))), 431),
        ("a path of 9,000 bytes", with("GET /", &format!("GET /{}", "x".repeat(9_000))), 414),
    ] {
        // A refusal before the end of the head is sent at once; the others at the end of the pipe.
        let request = request.replace("upgrade: websocket", "upgrade: websocket\r\nconnection: close");
        assert_eq!(status(&request).await, expected, "{what}");
    }
    let mut line_end = HANDSHAKE
        .replace("host: test", "host: test\r\nconnection: close\r\nx-forwarded-for: a#b")
        .into_bytes();
    *line_end.iter_mut().find(|byte| **byte == b'#').unwrap() = 0x85;
    let answer = raw(&Server::new(echo), &line_end).await;
    assert!(answer.starts_with(b"HTTP/1.1 400"), "0x85 in a value");
}

#[tokio::test(start_paused = true)]
async fn unfinished_head_times_out() {
    for beginning in ["", "GET / HTTP/1.1\r\nhost: te"] {
        let began = Instant::now();
        let mut pipe = Server::new(echo).pipe();
        pipe.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = timed(pipe.read_to_end(&mut answer)).await;
        assert!(began.elapsed() <= Duration::from_secs(11), "{beginning:?}: {:?}", began.elapsed());
    }
}

// ---- frames

#[tokio::test(start_paused = true)]
async fn endless_message_is_1008() {
    let server = Server::new(echo);
    for beginning in [&b"\x81"[..], &[0x81, 0x8A, 0, 0, 0, 0, b'x'], &frame(0x01, b"fragment")] {
        let (mut client, _) = client_async(request("/"), server.pipe()).await.unwrap();
        client.get_mut().write_all(beginning).await.unwrap();
        let began = Instant::now();
        // Answers pings, so that the message alone is the cause.
        loop {
            match timed(client.next()).await.unwrap().unwrap() {
                tungstenite::Message::Close(Some(close)) => break assert_eq!(u16::from(close.code), 1008),
                _ => client.get_mut().write_all(&[]).await.unwrap(),
            }
        }
        assert_eq!(began.elapsed().as_secs(), 30, "{beginning:x?}");
    }
}

#[tokio::test]
async fn too_many_fragments_are_1008() {
    let fragments = |count| [frame(0x01, b""), frame(0x00, b"").repeat(count)].concat();
    let finished = [fragments(1023), frame(0x80, b"end"), frame(0x88, b"")].concat();
    assert_eq!(raw_frames(&Server::new(echo), &finished).await, b"\x81\x03end\x88\x00");
    assert_eq!(close_code(&raw_frames(&Server::new(echo), &fragments(1024)).await), 1008);
    // Also in one piece, and with a message before and after them.
    let small = || {
        let mut limits = Limits::default();
        limits.max_fragments = 10;
        Server::limited(echo, limits)
    };
    let many = [frame(0x81, b"before"), fragments(10), frame(0x80, b"end"), frame(0x81, b"after")].concat();
    let answer = raw_frames(&small(), &many).await;
    assert!(answer.starts_with(b"\x81\x06before"), "{answer:x?}");
    assert_eq!(close_code(&answer[8..]), 1008);
    let faulty = [frame(0x83, b""), fragments(10)].concat();
    assert_eq!(close_code(&raw_frames(&small(), &faulty).await), 1002, "what came first");
}

#[tokio::test]
async fn control_frame_flood_is_1008() {
    for (flood, answered) in [(0x89, 60..=90), (0x8A, 0..=0)] {
        let answer = raw_frames(&Server::new(echo), &frame(flood, b"").repeat(1000)).await;
        let pongs = answer.chunks(2).take_while(|chunk| chunk[0] == 0x8A).count();
        assert!(answered.contains(&pongs), "{pongs}: a burst, and what a second or two refill");
        assert_eq!(close_code(&answer[2 * pongs..]), 1008);
    }
}

#[tokio::test(start_paused = true)]
async fn ignores_pings_while_unread() {
    let server = Server::new(echo);
    let mut pipe = server.pipe_of(300);
    pipe.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let flood = frame(0x89, &[b'x'; 100]).repeat(60);
    let written = tokio::time::timeout(Duration::from_secs(10), pipe.write_all(&flood)).await;
    assert!(written.is_err(), "the server stopped reading");
    sleep(Duration::from_secs(30)).await;
    assert!(server.service.connections().is_empty(), "and gave up on the client");
    assert_eq!(server.service.connections().stats().closed_slow, 1);
}

#[tokio::test(start_paused = true)]
async fn closes_idle_and_old_connections() {
    let idle = {
        let mut l = Limits::default();
        l.idle_timeout = Some(Duration::from_secs(60));
        l
    };
    let old = {
        let mut l = Limits::default();
        l.max_age = Some(Duration::from_secs(60));
        l
    };
    for (limits, code) in [(idle, 1000), (old, 1001)] {
        let server = Server::limited(echo, limits);
        let began = Instant::now();
        assert_eq!(server.connect("/").await.close_code().await, code);
        assert!((55..=85).contains(&began.elapsed().as_secs()), "{code}: {:?}", began.elapsed());
    }
}

/// Returns the time between a client's last frame and its end: it answers pings until a moment, sends a frame then, and
/// is silent afterwards.
async fn found_after(server: &Server, until: Duration) -> Duration {
    let mut pipe = server.pipe();
    timed(pipe.write_all(HANDSHAKE.as_bytes())).await.unwrap();
    let falls_silent = Instant::now() + until;
    let mut heard = Vec::new();
    while let Ok(read) = tokio::time::timeout_at(falls_silent, pipe.read_u8()).await {
        heard.push(read.unwrap());
        if heard.ends_with(&[0x89, 0]) {
            timed(pipe.write_all(&frame(0x8A, b""))).await.unwrap();
        }
    }
    timed(pipe.write_all(&frame(0x81, b"farewell"))).await.unwrap();
    timed(pipe.read_to_end(&mut heard)).await.unwrap();
    assert!(heard.starts_with(b"HTTP/1.1 101"));
    falls_silent.elapsed()
}

#[tokio::test(start_paused = true)]
async fn keepalive_finds_silent_clients() {
    for (interval, timeout) in [(20, 20), (20, 5), (5, 20)] {
        let mut limits = Limits::default();
        (limits.ping_interval, limits.ping_timeout) =
            (Duration::from_secs(interval), Duration::from_secs(timeout));
        let latest = limits.ping_interval + limits.ping_timeout + Duration::from_millis(10);
        let server = Server::limited(echo, limits);
        // The first check is at a random moment, and the later ones follow from it, so all moments occur.
        let moments = (0..600).map(|tenths| Duration::from_millis(100 * tenths + 1));
        let found = futures_util::future::join_all(
            moments.map(async |until| (until, found_after(&server, until).await)),
        );
        for (until, after) in found.await {
            assert!(after <= latest, "{interval} s, {timeout} s, silent from {until:?} on: {after:?}");
        }
        assert!(server.service.connections().is_empty());
    }
}

// ---- slow clients

async fn listen(mut socket: Socket) -> Result<()> {
    socket.group_add("room").await?;
    socket.accept().await?;
    while socket.next().await?.is_some() {}
    Ok(())
}

/// Sends 30 numbered frames of 100 KB to a client that reads none of them, then makes it read.
async fn missed(overflow: OverflowPolicy) -> (Vec<i64>, ws_consumer::ConnectionStats) {
    let mut output = OutputLimits::default();
    output.overflow = overflow;
    let mut limits = Limits::default();
    limits.output = output;
    let server = Server::limited(listen, limits);
    let (client, _) = client_async(request("/"), server.pipe()).await.unwrap();
    for n in 0..30 {
        let text = format!("{n}{}", " ".repeat(100_000));
        let message = Message::websocket_text(text).with("key", n % 2);
        let _: channel_layer::SendReport = server.layer.group_send_message("room", message).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    let reading =
        client.filter_map(async |message| message.ok()?.into_text().ok()?.trim().parse::<i64>().ok());
    let stats = server.service.connections().stats();
    let quiet = sleep(Duration::from_secs(1));
    (reading.take_until(quiet).collect().await, stats)
}

#[tokio::test(start_paused = true)]
async fn overflow_policies_count_each_miss() {
    for overflow in
        [OverflowPolicy::RefuseNewest, OverflowPolicy::DropOldest, OverflowPolicy::keep_latest("key")]
    {
        let (got, stats) = missed(overflow.clone()).await;
        assert!(got.is_sorted(), "{overflow:?}: {got:?}");
        assert_eq!(got.len() as u64 + stats.frames_dropped, 30, "{overflow:?}: {got:?}");
        assert_eq!(stats.closed_slow, 0);
        let newest = got.last() == Some(&29);
        assert_eq!(newest, overflow != OverflowPolicy::RefuseNewest, "{overflow:?}: {got:?}");
    }
    let (got, stats) = missed(OverflowPolicy::Close).await;
    assert!(got.len() < 30, "{got:?}");
    assert_eq!((stats.closed_slow, stats.frames_dropped), (1, 0));
}

// ---- the server

struct Running {
    address: std::net::SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    done: tokio::task::JoinHandle<std::io::Result<()>>,
}

type Configure = fn(ws_consumer::Serve<ws_consumer::NotFound>) -> ws_consumer::Serve<ws_consumer::NotFound>;

async fn start(configure: Configure) -> Running {
    let listener = ws_consumer::listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Protocols::new()
        .websocket(Router::new().application("/", echo))
        .health_checks()
        .into_service(Arc::new(MemoryLayer::default()) as Arc<dyn ChannelLayer>);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let server = configure(serve(listener, service)).with_graceful_shutdown(async { _ = stopped.await });
    Running { address, stop, done: tokio::spawn(server.into_future()) }
}

async fn get(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    timed(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = vec![0; 1000];
    let read = timed(stream.read(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn readiness_ends_with_the_drain() {
    let running = start(|serve| serve.with_drain(Drain::restart().over(Duration::from_millis(500)))).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    assert!(get(&mut stream, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(&mut stream, "/readyz").await.starts_with("HTTP/1.1 200"));
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(connect_async(format!("ws://{}/", running.address)).await.unwrap().0);
    }
    running.stop.send(()).unwrap();
    while !get(&mut stream, "/readyz").await.starts_with("HTTP/1.1 503") {
        sleep(Duration::from_millis(5)).await;
    }
    for client in &mut clients {
        let Some(Ok(tungstenite::Message::Close(Some(close)))) = timed(client.next()).await else {
            panic!("no close")
        };
        assert_eq!(u16::from(close.code), 1012);
        let seconds: f64 = close.reason.strip_prefix("retry-after=").expect("a hint").parse().unwrap();
        assert!((0.0..=1.0).contains(&seconds));
        while let Some(Ok(_)) = timed(client.next()).await {}
    }
    timed(running.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn address_limit_is_503() {
    let running = start(|serve| serve.with_max_connections_per_address(2)).await;
    let url = format!("ws://{}/", running.address);
    let (mut first, _) = connect_async(&url).await.unwrap();
    let _second = connect_async(&url).await.unwrap();
    let Err(tungstenite::Error::Http(response)) = connect_async(&url).await else { panic!("not refused") };
    assert_eq!(response.status(), 503);
    first.close(None).await.unwrap();
    while let Some(Ok(_)) = first.next().await {}
    while connect_async(&url).await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn clients_wait_beyond_the_limit() {
    let running = start(|serve| serve.with_max_connections(1)).await;
    let url = format!("ws://{}/", running.address);
    let (mut first, _) = connect_async(&url).await.unwrap();
    let waiting = tokio::spawn({
        let url = url.clone();
        async move { connect_async(url).await.map(drop) }
    });
    first.send("still served".into()).await.unwrap();
    assert_eq!(timed(first.next()).await.unwrap().unwrap().into_text().unwrap().as_str(), "still served");
    assert!(!waiting.is_finished());
    drop(first);
    timed(waiting).await.unwrap().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn listeners_share_one_address() {
    let mut all = listeners("127.0.0.1:0".parse().unwrap(), 3).unwrap().into_iter();
    let first = all.next().unwrap();
    let address = first.local_addr().unwrap();
    let service = Protocols::new().websocket(Router::new().application("/", echo));
    let service = service.into_service(Arc::new(MemoryLayer::default()));
    let server = all.fold(serve(first, service), |serve, listener| serve.with_listener(listener));
    let server = tokio::spawn(server.into_future());
    for _ in 0..30 {
        timed(connect_async(format!("ws://{address}/"))).await.unwrap();
    }
    server.abort();
}
