//! The delay that a member that reads nothing causes for others: printed, not asserted.

use std::time::Duration;

use channels_tests::{Lane, Member, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::Instant,
};

const MEMBERS: usize = 100;
const MESSAGES: usize = 200;
const SIZE: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_member_with_64_kib_messages() {
    for lane in [Lane::Handler, Lane::Frame] {
        for dead in [false, true, false, true] {
            let p99 = broadcast(lane, dead).await;
            println!("{lane:?}, a dead member: {dead}: p99 {p99:?}");
        }
    }
}

/// The 99th percentile of the times from the speaker's send to each member's receipt; all receive all.
async fn broadcast(lane: Lane, with_dead: bool) -> Duration {
    let server = Server::chat(lane).await;
    let mut speaker = Member::join(&server, "hall").await;
    let dead = if with_dead { Some(join_and_read_nothing(&server).await) } else { None };
    let begun = Instant::now();
    let mut listening = JoinSet::new();
    for _ in 2..MEMBERS {
        let member = Member::join(&server, "hall").await;
        listening.spawn(listen(member, begun));
    }
    let mut sent = Vec::new();
    for number in 0..MESSAGES {
        sent.push(begun.elapsed());
        speaker.say(&format!("{number:08}").repeat(SIZE / 8)).await;
        speaker.hear().await;
    }
    let heard = listening.join_all().await;
    let mut times: Vec<_> =
        heard.iter().flat_map(|times| times.iter().zip(&sent).map(|(heard, sent)| *heard - *sent)).collect();
    times.sort();
    drop(dead);
    times[times.len() * 99 / 100]
}

async fn listen(mut member: Member, begun: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..MESSAGES {
        let text = member.hear().await;
        assert!(text.starts_with(&format!("{number:08}")), "a message is missing");
        times.push(begun.elapsed());
    }
    times
}

/// With small socket buffers, so that the server soon has to keep unread bytes.
async fn join_and_read_nothing(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("before it is connected");
    let mut stream = socket.connect(server.address).await.expect("the server accepts connections");
    let head = "GET /ws/chat/hall/ HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    assert_eq!(stream.read_u8().await.expect("the server answers"), b'H');
    stream
}
