//! Random clients: no input breaks the server, and valid messages return complete. A seed that fails is printed.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ws_consumer::{Limits, Result, Socket};

use crate::support::{HANDSHAKE, Server, echo, timed};

fn server() -> Server {
    let mut limits = Limits::default();
    limits.max_message_size = 10_000;
    Server::limited(echo, limits)
}

/// Writes all bytes in pieces of random sizes, and returns the whole answer.
async fn converse(server: &Server, random: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let pipe = server.pipe_of(random.usize(50..5000));
    let (mut read, mut write) = tokio::io::split(pipe);
    let mut pieces = bytes;
    let mut random = random.fork();
    let writing = async move {
        while !pieces.is_empty() {
            let (piece, rest) = pieces.split_at(random.usize(1..=pieces.len().min(3000)));
            pieces = rest;
            if write.write_all(piece).await.is_err() {
                break; // it has heard enough
            }
            tokio::task::yield_now().await;
        }
        let _ = write.shutdown().await;
    };
    let mut answer = Vec::new();
    let reading = async { _ = read.read_to_end(&mut answer).await };
    timed(async { tokio::join!(writing, reading) }).await;
    answer
}

async fn is_well(server: &Server) {
    let mut client = server.connect("/").await;
    client.send("well").await;
    assert_eq!(client.text().await, "well");
    client.leave().await;
}

#[tokio::test(start_paused = true)]
async fn no_bytes_break_the_server() {
    let server = server();
    for seed in 0..400 {
        let mut random = Rng::with_seed(seed);
        let mut bytes = if seed % 4 == 0 { Vec::new() } else { HANDSHAKE.as_bytes().to_vec() };
        for _ in 0..random.usize(0..400) {
            bytes.push(random.u8(..));
        }
        if seed % 4 == 1 {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        converse(&server, &mut random, &bytes).await;
    }
    is_well(&server).await;
    server.service.connections().close().await;
    assert!(server.service.connections().is_empty());
}

/// A client's frame with a random mask.
fn put(bytes: &mut Vec<u8>, random: &mut Rng, first: u8, payload: &[u8]) {
    let mask: [u8; 4] = random.u32(..).to_be_bytes();
    bytes.push(first);
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | short as u8),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A valid conversation: messages in random fragments with pings between, and the payloads in order.
fn conversation(random: &mut Rng) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut bytes, mut messages) = (HANDSHAKE.as_bytes().to_vec(), Vec::new());
    for _ in 0..random.usize(1..20) {
        let len = random.usize(0..9000) * random.usize(0..2) + random.usize(0..200);
        let payload: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        let (mut rest, mut opcode) = (&payload[..], 0x02);
        loop {
            let (part, after) = rest.split_at(random.usize(0..=rest.len()));
            let is_final = after.is_empty();
            put(&mut bytes, random, opcode | if is_final { 0x80 } else { 0 }, part);
            if is_final {
                break;
            }
            (rest, opcode) = (after, 0);
            if random.u8(..4) == 0 && messages.len() < 30 {
                put(&mut bytes, random, 0x89, b"");
            }
        }
        messages.push(payload);
    }
    put(&mut bytes, random, 0x88, &1000_u16.to_be_bytes());
    (bytes, messages)
}

/// The payloads of a server's binary frames, and the code it closes with.
fn parse(mut bytes: &[u8]) -> (Vec<Vec<u8>>, Option<u16>) {
    let mut messages = Vec::new();
    while let [first, len, rest @ ..] = bytes {
        let (len, rest) = match *len {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            short => (usize::from(short), rest),
        };
        let (payload, after) = rest.split_at(len);
        match first {
            0x82 => messages.push(payload.to_vec()),
            0x8A => {}
            0x88 => return (messages, Some(u16::from_be_bytes([payload[0], payload[1]]))),
            other => panic!("an unexpected frame {other:x}"),
        }
        bytes = after;
    }
    (messages, None)
}

#[tokio::test(start_paused = true)]
async fn split_conversations_are_echoed() {
    let server = server();
    for seed in 0..150 {
        let mut random = Rng::with_seed(seed);
        let (bytes, sent) = conversation(&mut random);
        let answer = converse(&server, &mut random, &bytes).await;
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let (echoed, code) = parse(&answer[head..]);
        assert_eq!(code, Some(1000), "seed {seed}");
        assert!(echoed == sent, "seed {seed}: {} of {} messages", echoed.len(), sent.len());
    }
}

#[tokio::test(start_paused = true)]
async fn connection_churn_leaves_nothing() {
    async fn member(mut socket: Socket) -> Result<()> {
        socket.group_add(format!("room_{}", fastrand::u8(..10))).await?;
        socket.accept().await?;
        while socket.next().await?.is_some() {}
        Ok(())
    }
    let server = Server::new(member);
    for round in 0..200 {
        let clients = (0..20).map(|_| server.connect("/"));
        for (at, client) in futures_util::future::join_all(clients).await.into_iter().enumerate() {
            match (round + at) % 3 {
                0 => client.leave().await,
                1 => drop(client), // without a word
                _ => drop(client.socket.into_inner().shutdown().await),
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(server.service.connections().is_empty(), "{:?}", server.service.connections());
    assert_eq!((server.layer.hub().mailbox_count(), server.layer.hub().group_count()), (0, 0));
    assert_eq!(server.service.connections().stats().total, 4000);
}
