//! The chat as a process, and faults: a shutdown with clients connected, no descriptors left, peers that flood or never read.

use std::{fs, time::Duration};

use channels_tests::{Ending, Lane, Member, Redis, Server, Signal, let_open, within};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

const HANDSHAKE: &str = "GET /ws/chat/lobby/ HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn shutdown_delivers_before_closing() {
    let mut server = Server::chat(Lane::Handler).await;
    let mut members = Vec::new();
    for _ in 0..500 {
        members.push(Member::join(&server, "lobby").await);
    }
    members[0].say("last words").await;
    for member in &mut members {
        assert_eq!(member.hear().await, "last words");
    }
    server.program.signal(Signal::TERM);
    let endings = join_all(members.into_iter().map(Member::ending)).await;
    assert!(endings.iter().all(|ending| *ending == Ending::Closed(1001)), "{endings:?}");
    assert_eq!(server.program.wait().await.code(), Some(0));
}

#[tokio::test]
async fn survives_running_out_of_descriptors() {
    let server = Server::chat_with_few_descriptors(64, "memory://").await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(server.address).await.expect("the kernel takes it"));
    }
    let met = async {
        while !server.program.stderr().contains("no descriptors left") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within("the limit", met).await;
    drop(crowd);
    // The server refuses clients until it has noticed that these connections are gone.
    let admitted = async {
        while !answer(&server, HANDSHAKE).await.1.starts_with("HTTP/1.1 101") {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within("room again", admitted).await;
    let mut ann = Member::join(&server, "lobby").await;
    ann.say("still here").await;
    assert_eq!(ann.hear().await, "still here");
}

/// Sends a request over its own connection, and returns the connection and the answer.
async fn answer(server: &Server, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address).await.expect("the kernel takes it");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = vec![0; 4096];
    let read = within("an answer", stream.read(&mut answer)).await.expect("an answer");
    (stream, String::from_utf8_lossy(&answer[..read]).into_owned())
}

const READY: &str = "GET /readyz HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test]
async fn layer_keeps_its_descriptors() {
    let redis = Redis::start().await;
    let server = Server::chat_with_few_descriptors(64, &redis.url()).await;
    let began = Instant::now();
    let mut ann = Member::join(&server, "lobby").await;
    let mut crowd = Vec::new();
    let refused = loop {
        assert!(crowd.len() < 64, "the limit was not met");
        match answer(&server, HANDSHAKE).await {
            (stream, answer) if answer.starts_with("HTTP/1.1 101") => crowd.push(stream),
            (_, answer) => break answer,
        }
    };
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    // Silent connections do not stop others.
    for _ in 0..20 {
        crowd.push(TcpStream::connect(server.address).await.expect("the kernel takes it"));
    }
    redis.cut("pubsub").await;
    redis.cut("normal").await;
    let ready = async {
        while !answer(&server, READY).await.1.starts_with("HTTP/1.1 200") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within("the layer's return", ready).await;
    ann.say("still here").await;
    // After the notice of possibly missed messages.
    while !ann.receive().await.to_string().contains("still here") {}
    // A higher limit takes effect at once.
    let_open(&server.program, 256);
    let member = async {
        while !answer(&server, HANDSHAKE).await.1.starts_with("HTTP/1.1 101") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within("room for another member", member).await;
    let warnings = server.program.stderr().lines().filter(|line| line.contains("descriptors left")).count();
    assert!((1..=1 + began.elapsed().as_secs() as usize).contains(&warnings), "{warnings}");
}

/// Kibibytes of memory that the server holds.
fn memory(server: &Server) -> usize {
    let id = server.program.id().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the system tells");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

async fn raw_member(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.expect("the server accepts");
    stream.write_all(HANDSHAKE.as_bytes()).await.expect("the server reads");
    let mut answer = vec![0; 1000];
    let read = within("the answer", stream.read(&mut answer)).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 101"));
    stream
}

/// Writes until the server takes nothing for half a second, or enough was written.
async fn flood(stream: &mut TcpStream, unit: &[u8], limit: usize) -> usize {
    let chunk = unit.repeat(65_536 / unit.len());
    let mut written = 0;
    while written < limit {
        match timeout(Duration::from_millis(500), stream.write_all(&chunk)).await {
            Ok(Ok(())) => written += chunk.len(),
            _ => break,
        }
    }
    written
}

#[tokio::test]
async fn unread_floods_stay_below_a_mebibyte() {
    let server = Server::chat(Lane::Handler).await;
    let mut ann = Member::join(&server, "other").await;
    let ping = [0x89, 0x80 + 2, 0, 0, 0, 0, b'h', b'i'];
    let fragment = [0x00, 0x80, 0, 0, 0, 0];
    flood(&mut raw_member(&server).await, &ping, 1 << 20).await; // warms up: code, buffers of the threads
    let before = memory(&server);
    for unit in [&ping[..], &fragment] {
        let mut stream = raw_member(&server).await;
        flood(&mut stream, unit, 64 << 20).await;
        let grown = memory(&server).saturating_sub(before);
        assert!(grown <= 1024, "{unit:x?}: {grown} KiB");
    }
    ann.say("unharmed").await;
    assert_eq!(ann.hear().await, "unharmed");
}

#[tokio::test]
async fn announced_lengths_allocate_nothing() {
    let server = Server::chat(Lane::Handler).await;
    let mut members = Vec::new();
    for _ in 0..100 {
        members.push(raw_member(&server).await);
    }
    let before = memory(&server);
    for member in &mut members {
        let announced = [0x82, 0xFF, 0, 0, 0, 0, 0, 0x0F, 0, 0, 0, 0, 0, 0, b'x'];
        member.write_all(&announced).await.expect("the server reads");
    }
    sleep(Duration::from_millis(300)).await;
    let grown = memory(&server).saturating_sub(before);
    assert!(grown <= 100 * 16, "{grown} KiB for 100 members");
}

#[tokio::test]
async fn unread_member_is_closed_alone() {
    let server = Server::chat(Lane::Frame).await;
    let dead = raw_member(&server).await;
    let mut live = Vec::new();
    for _ in 0..10 {
        live.push(Member::join(&server, "lobby").await);
    }
    let said = "x".repeat(64 << 10);
    // More than the kernel's buffers and the server's limit hold for the member that reads nothing.
    for _ in 0..200 {
        live[0].say(&said).await;
        for member in &mut live {
            assert!(member.hear().await == said);
        }
    }
    assert!(server.program.stderr().contains("too slow"), "nobody noticed the dead member");
    drop(dead);
}
