//! The memory that one client can make a server keep, over each transport: measured by the growth of the
//! server.

use std::time::Duration;

use channels_tests::{Lane, Member, Server, allocated, may_open, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};

/// Bytes by which a client may make a server grow.
const MOST: usize = 64 << 20;

const OPEN: &str = "{\"mode\":\"poll\"}\n";

struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn from(server: &Server, host: u8) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, host], 0).into()).expect("an address of this machine");
        Self(BufReader::new(socket.connect(server.address).await.expect("the server accepts connections")))
    }

    async fn write(&mut self, bytes: &[u8]) {
        within("a request", self.0.get_mut().write_all(bytes)).await.expect("the server reads");
    }

    /// The status and the body of the next answer.
    async fn answer(&mut self) -> (u16, String) {
        within("an answer", async {
            let (mut status, mut length) = (0, 0);
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line).await.expect("an answer");
                assert!(!line.is_empty(), "the server has hung up");
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(rest) = line.strip_prefix("http/1.1 ") {
                    status = rest[..3].parse().expect("a status");
                } else if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                } else if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.expect("a body");
            (status, String::from_utf8(body).expect("text"))
        })
        .await
    }
}

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /ws/chat/lobby/ HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-ndjson\r\n{headers}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Opens `count` sessions over one connection, and returns the number of those admitted.
async fn open_sessions(connection: &mut Connection, count: usize, headers: &str) -> usize {
    let request = post(headers, OPEN);
    let mut open = 0;
    for chunk in (0..count).step_by(64) {
        let these = 64.min(count - chunk);
        connection.write(request.repeat(these).as_bytes()).await;
        for _ in 0..these {
            open += usize::from(connection.answer().await.0 == 200);
        }
    }
    open
}

async fn warm(server: &Server) -> usize {
    let mut connection = Connection::from(server, 9).await;
    open_sessions(&mut connection, 10, "").await;
    let mut ann = Member::join(server, "other").await;
    ann.say("warm").await;
    ann.hear().await;
    allocated(&server.program)
}

fn judge(what: &str, server: &Server, before: usize) {
    let grown = allocated(&server.program).saturating_sub(before);
    println!("{what}: grown by {:.1} MiB", grown as f64 / (1 << 20) as f64);
    assert!(grown <= MOST, "{what}: {grown} bytes");
}

#[tokio::test]
async fn detached_sessions_in_a_busy_room() {
    for lane in [Lane::Handler, Lane::Frame] {
        for (messages, size) in [(24, 16_000), (2_000, 100)] {
            let server = Server::chat(lane).await;
            let before = warm(&server).await;
            let mut connection = Connection::from(&server, 2).await;
            let open = open_sessions(&mut connection, 2_000, "").await;
            let mut ann = Member::join(&server, "lobby").await;
            for _ in 0..messages {
                ann.say(&"x".repeat(size)).await;
                ann.hear().await;
            }
            sleep(Duration::from_millis(500)).await;
            judge(&format!("{lane:?}, {open} sessions, {messages} x {size} bytes"), &server, before);
        }
    }
}

#[tokio::test]
async fn endless_sessions_of_one_connection() {
    for header in [0, 12_000] {
        let server = Server::chat(Lane::Handler).await;
        let before = warm(&server).await;
        let began = Instant::now();
        let mut connection = Connection::from(&server, 2).await;
        let headers = format!("x-padding: {}\r\n", "x".repeat(header));
        let count = if header == 0 { 110_000 } else { 10_000 };
        let open = open_sessions(&mut connection, count, &headers).await;
        println!("{open} of {count} sessions in {:?}", began.elapsed());
        let mut other = Connection::from(&server, 3).await;
        assert_eq!(open_sessions(&mut other, 1, "").await, 1, "another client is kept out");
        judge(&format!("{count} sessions with headers of {header} bytes"), &server, before);
    }
}

#[tokio::test]
async fn requests_whose_bodies_do_not_end() {
    may_open();
    for (what, headers) in [("foreign", "origin: http://evil.example\r\n"), ("own", "")] {
        let server = Server::chat(Lane::Handler).await;
        let before = warm(&server).await;
        let head = format!(
            "POST /ws/chat/lobby/ HTTP/1.1\r\nhost: test\r\ncontent-type: application/x-ndjson\r\n{headers}\
             content-length: 2160000\r\n\r\n"
        );
        let body =
            format!("{{\"mode\":\"send\",\"token\":\"{}\"}}\n\"{}", "x".repeat(48), "x".repeat(2_100_000));
        let mut held = Vec::new();
        for _ in 0..300 {
            let mut connection = Connection::from(&server, 2).await;
            connection.write(head.as_bytes()).await;
            let _ =
                timeout(Duration::from_millis(300), connection.0.get_mut().write_all(body.as_bytes())).await;
            held.push(connection);
        }
        judge(&format!("300 unfinished {what} bodies"), &server, before);
    }
}

#[tokio::test]
async fn full_budget_is_freed() {
    let server = Server::chat(Lane::Frame).await;
    let before = warm(&server).await;
    // From many addresses: one alone has a share of it.
    for host in 10..20 {
        let mut connection = Connection::from(&server, host).await;
        open_sessions(&mut connection, 2_000, &format!("x-padding: {}\r\n", "x".repeat(4_000))).await;
    }
    let mut ann = Member::join(&server, "lobby").await;
    for _ in 0..1_000 {
        ann.say(&"x".repeat(200)).await;
        ann.hear().await;
    }
    let peak = allocated(&server.program);
    sleep(Duration::from_secs(95)).await; // as long as a session lasts, and is remembered
    let after = allocated(&server.program);
    println!("before {} MiB, full {} MiB, once all have gone {} MiB", before >> 20, peak >> 20, after >> 20);
    assert!(peak - before <= 2 * (256 << 20), "{peak} bytes");
}

/// With small socket buffers, so that the server soon has to keep unread bytes.
async fn unread(server: &Server, head: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("before it is connected");
    let mut stream = socket.connect(server.address).await.expect("the server accepts");
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    assert_eq!(stream.read_u8().await.expect("the server answers"), b'H');
    stream
}

fn handshake(headers: &str) -> String {
    format!(
        "GET /ws/chat/lobby/ HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

const SESSION: &str = "sec-websocket-protocol: channels.v1\r\n";

/// Returns the bytes by which the server grows, at the most, while a client sends and reads nothing.
async fn flood(server: &Server, headers: &str, size: usize) -> usize {
    let before = allocated(&server.program);
    let mut stream = unread(server, &handshake(headers)).await;
    let frame = text_frame(&format!("{{\"message\":\"{}\"}}", "x".repeat(size)));
    let chunk = frame.repeat(1 + 65_536 / frame.len());
    let (mut most, began) = (0, Instant::now());
    while began.elapsed() < Duration::from_secs(8) {
        let written = timeout(Duration::from_millis(500), stream.write_all(&chunk)).await;
        most = most.max(allocated(&server.program).saturating_sub(before));
        if !matches!(written, Ok(Ok(()))) {
            break;
        }
    }
    most
}

#[tokio::test]
async fn a_speaker_that_never_reads() {
    for size in [100, 60_000] {
        for (what, headers) in [("plain", ""), ("session", SESSION)] {
            let server = Server::chat(Lane::Handler).await;
            flood(&server, "", size).await; // warms up
            sleep(Duration::from_millis(500)).await;
            let most = flood(&server, headers, size).await;
            println!("a {what} speaker of {size} bytes that never reads: {} KiB at the most", most >> 10);
            // Without a session, what the protocol's parser takes for two large messages, in a debug build.
            let bar = if headers.is_empty() { 4 << 20 } else { 2 << 20 };
            assert!(most <= bar, "{most} bytes");
        }
    }
}

#[tokio::test]
async fn unread_member_in_a_busy_room() {
    let stream = "GET /ws/chat/lobby/ HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\n\r\n";
    for lane in [Lane::Handler, Lane::Frame] {
        for (what, head) in
            [("plain", handshake("")), ("session", handshake(SESSION)), ("event stream", stream.to_owned())]
        {
            let server = Server::chat(lane).await;
            let before = warm(&server).await;
            let _unread = unread(&server, &head).await;
            let mut ann = Member::join(&server, "lobby").await;
            for _ in 0..500 {
                ann.say(&"x".repeat(16_000)).await;
                ann.hear().await;
            }
            let grown = allocated(&server.program).saturating_sub(before);
            println!("{lane:?}, a {what} member that never reads: grown by {} KiB", grown >> 10);
            // A plain member takes 12 MiB, most of it for the speaker's messages.
            assert!(grown <= 24 << 20, "{grown} bytes");
        }
    }
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("short").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}
