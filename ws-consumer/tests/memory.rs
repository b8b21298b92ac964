//! The memory of an idle connection, counted by the allocator. There is one test, because the counts are per process.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

mod support;

use std::{alloc::System, time::Duration};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::advance,
};
use ws_consumer::{Consumer, Frame, Result, Router, Socket};

use self::support::{HANDSHAKE, Server, frame, timed};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROOMS: usize = 100;
const MEMBERS: usize = 1_000;
/// The size of a pipe, which has all its memory from the start, in each direction.
const PIPE: usize = 512;

/// A message in the chat's form.
#[derive(Default)]
struct Chat {
    group: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Said {
    r#type: String,
    message: String,
}

impl Consumer for Chat {
    type Event = Said;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.group = format!("chat_{}", socket.scope().param("room")?);
        socket.group_add(&self.group).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let said = Said { r#type: "said".into(), message: frame.json()? };
        socket.group_send(&self.group, &said).await
    }

    async fn event(&mut self, socket: &mut Socket, said: &Said) -> Result<()> {
        socket.send_json(&said.message).await
    }
}

/// The growth since the beginning of the region, in bytes per member.
fn each(region: &Region<System>) -> usize {
    let stats = region.change();
    (stats.bytes_allocated - stats.bytes_deallocated) / MEMBERS
}

async fn join(server: &Server, number: usize) -> DuplexStream {
    let mut pipe = server.pipe_of(PIPE);
    let room = number * ROOMS / MEMBERS;
    let handshake = HANDSHAKE.replace("GET /", &format!("GET /ws/chat/{room}/"));
    timed(pipe.write_all(handshake.as_bytes())).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timed(pipe.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    pipe
}

/// Sends a message in each room, and waits until all members have received it.
async fn speak(members: &mut [DuplexStream], who: usize) {
    for room in members.chunks_mut(MEMBERS / ROOMS) {
        timed(room[who].write_all(&frame(0x81, b"\"hello\""))).await.unwrap();
        for member in room {
            let mut heard = [0; 2];
            while heard != *b"\x81\x07" {
                timed(member.read_exact(&mut heard)).await.unwrap();
                assert!([*b"\x81\x07", *b"\x89\0"].contains(&heard), "a message, or a ping before it");
            }
            let mut heard = [0; 7];
            timed(member.read_exact(&mut heard)).await.unwrap();
            assert_eq!(&heard, b"\"hello\"");
        }
    }
}

/// The memory of the pipes, which belong to the test and not to the server.
fn pipes_each() -> usize {
    let region = Region::new(ALLOCATOR);
    let pipes: Vec<_> = (0..MEMBERS).map(|_| duplex(PIPE)).collect();
    let each = each(&region);
    drop(pipes);
    each
}

// An idle member may take 4 KiB on a machine: this, the socket's registration with the runtime
// (272 bytes), and the allocator's rounding (about a tenth).
#[tokio::test(start_paused = true)]
async fn idle_member_takes_three_kilobytes() {
    const MOST: usize = 3_000;
    let server = Server::new(Router::new().consumer("/ws/chat/{room}/", Chat::default));
    drop(join(&server, 0).await); // what is made once
    let pipes = pipes_each();
    let mut members = Vec::with_capacity(MEMBERS);
    let region = Region::new(ALLOCATOR);
    for number in 0..MEMBERS {
        members.push(join(&server, number).await);
    }
    let idle = each(&region) - pipes;
    println!("{idle} bytes for an idle member, without its pipe");
    assert!(idle <= MOST, "{idle} bytes");

    for who in 0..MEMBERS / ROOMS {
        speak(&mut members, who).await;
    }
    let talking = each(&region) - pipes;
    advance(Duration::from_secs(21)).await; // past everybody's next look
    speak(&mut members, 0).await;
    let quiet = each(&region) - pipes;
    println!("{talking} bytes for one that has just spoken, {quiet} once it is quiet");
    assert!(quiet <= MOST && quiet < talking, "{quiet} bytes");
}
