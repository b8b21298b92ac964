//! A member that reads nothing costs the others nothing, and the server little. There is one test, because the bytes
//! are counted per process.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

mod support;

use std::alloc::System;

use channel_layer::{ChannelLayerExt, Message};
use futures_util::StreamExt;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message as Frame;
use ws_consumer::{Application, ConnectionStats, Consumer, Result, Router, Socket};

use self::support::{Client, Server, request, timed};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MEMBERS: usize = 100;
const MESSAGES: usize = 200;
const SIZE: usize = 64 << 10;

#[derive(serde::Deserialize)]
struct News {
    text: String,
}

#[derive(Default)]
struct Reader;

impl Consumer for Reader {
    type Event = News;
    const GROUPS: &'static [&'static str] = &["news"];

    async fn event(&mut self, socket: &mut Socket, news: &News) -> Result<()> {
        socket.send_text(&news.text).await
    }
}

fn text(number: usize) -> String {
    format!("{number:08}").repeat(SIZE / 8)
}

fn as_a_frame(number: usize) -> Message {
    Message::websocket_text(text(number))
}

fn as_an_event(number: usize) -> Message {
    Message::new("news").with("text", text(number))
}

/// Checks that all other members have all messages, in order; returns the server's work and its greatest use of memory.
async fn broadcast(application: impl Application, message: fn(usize) -> Message) -> (ConnectionStats, usize) {
    let server = Server::new(application);
    let mut members = Vec::new();
    for _ in 1..MEMBERS {
        members.push(server.connect("/").await);
    }
    let dead = server.try_connect(request("/")).await.unwrap();
    let region = Region::new(ALLOCATOR);
    let mut most = 0;
    for number in 0..MESSAGES {
        let _missed = server.layer.group_send_message("news", message(number)).await.unwrap();
        let expected = text(number);
        for member in &mut members {
            hear(member, &expected).await;
        }
        let held = region.change();
        most = most.max(held.bytes_allocated.saturating_sub(held.bytes_deallocated));
    }
    let stats = wait_for_the_end_of(dead, &server).await;
    (stats, most)
}

async fn hear(member: &mut Client, text: &str) {
    let heard = timed(member.socket.next()).await.unwrap().unwrap();
    assert!(heard == Frame::text(text), "another one than expected");
}

/// Waits for the write timeout: a paused clock leaps to it once no task can run.
async fn wait_for_the_end_of(dead: Client, server: &Server) -> ConnectionStats {
    while server.service.connections().len() == MEMBERS {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    // It got a part of the messages, and then the end of the stream.
    let mut rest = Vec::new();
    timed(dead.socket.into_inner().read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < MESSAGES * SIZE / 2, "{}", rest.len());
    server.service.connections().stats()
}

// For the dead member, a mebibyte waits for the consumer, one behind it and one in the mailbox; for the
// others, one message each. Two hundred decoded messages would be twice as much.
const MOST: usize = (MEMBERS + 150) * SIZE;

#[tokio::test(start_paused = true)]
async fn dead_member_is_closed_alone() {
    for message in [as_a_frame, as_an_event] {
        let (stats, most) = broadcast(Router::new().consumer("/", Reader::default), message).await;
        println!("{stats:?}, at most {most} bytes more");
        assert_eq!((stats.open, stats.closed_slow), (MEMBERS - 1, 1));
        assert!(most < MOST, "{most} bytes");
    }
}
