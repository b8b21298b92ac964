//! The server's cost of a delivery over each transport: a room of 1,000, one message at a time, over real connections.
//!
//! `cargo bench -p ws-consumer --bench transports`. Only the ratios within one run are meaningful.

use std::{
    fs, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelLayerExt, MemoryLayer, Message};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::sleep,
};
use ws_consumer::{Consumer, Protocols, Result, Resume, Router, Socket, serve};

const MEMBERS: usize = 1000;
const MESSAGES: usize = 100;
const REPETITIONS: usize = 3;
const TEXT: &str = "sixty-four bytes of text, which is about what people say at once";

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Event {
    #[serde(rename = "room.said")]
    Said { text: String },
}

#[derive(Default)]
struct Member;

impl Consumer for Member {
    type Event = Event;

    const GROUPS: &'static [&'static str] = &["room"];

    async fn event(&mut self, socket: &mut Socket, event: &Event) -> Result<()> {
        let Event::Said { text } = event;
        socket.send_text(text.as_str()).await
    }
}

/// A server on a separate thread, whose CPU time is measured.
struct Server {
    address: SocketAddr,
    layer: Arc<MemoryLayer>,
    /// The thread: `<pid>/task/<tid>`.
    task: String,
    _stop: oneshot::Sender<()>,
}

impl Server {
    fn start() -> Self {
        let layer = Arc::new(MemoryLayer::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let shared: Arc<dyn ChannelLayer> = layer.clone();
        thread::spawn(move || {
            let task = fs::read_link("/proc/thread-self").expect("Linux").display().to_string();
            runtime().block_on(async move {
                let listener = ws_consumer::listen("127.0.0.1:0").await.expect("a port");
                tell.send((listener.local_addr().expect("bound"), task)).expect("somebody waits");
                let router = Router::new().consumer("/", Member::default);
                let protocols = Protocols::new().websocket(router).resume(Resume::default());
                let stopped = async { _ = stopped.await };
                let served = serve(listener, protocols.into_service(shared)).with_graceful_shutdown(stopped);
                served.await.expect("served");
            });
        });
        let (address, task) = told.recv().expect("it starts");
        Self { address, layer, task, _stop: stop }
    }

    fn on_core(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/schedstat", self.task)).expect("Linux");
        let nanoseconds = stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        Duration::from_nanos(nanoseconds)
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // `cargo test` only sees that it compiles
    }
    for repetition in 1..=REPETITIONS {
        for lane in ["handler", "frame"] {
            let websocket = measure(lane, websocket);
            print!("{repetition} {lane}: WebSocket {websocket:.2} us a delivery");
            for (name, cost) in [("event stream", measure(lane, events)), ("long poll", measure(lane, polls))]
            {
                print!(", {name} {cost:.2} ({:.2}x)", cost / websocket);
            }
            println!();
        }
    }
}

/// The server's microseconds per delivery.
fn measure<F, Fut>(lane: &str, member: F) -> f64
where
    F: Fn(SocketAddr, Arc<AtomicUsize>) -> Fut,
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    let server = Server::start();
    runtime().block_on(async {
        let heard = Arc::new(AtomicUsize::new(0));
        for _ in 0..MEMBERS {
            tokio::spawn(member(server.address, heard.clone()));
        }
        let message = match lane {
            "frame" => Message::websocket_text(TEXT),
            _ => Message::encode(&Event::Said { text: TEXT.to_owned() }).expect("a map"),
        };
        let room = "room".parse().expect("a name");
        let directory = server.layer.directory().expect("in memory it is known");
        while directory.member_count(&room).await.expect("known") < MEMBERS {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(500)).await;
        let before = server.on_core();
        for number in 1..=MESSAGES {
            let report = server.layer.group_send_message("room", message.clone()).await.expect("sent");
            assert_eq!(report.local.delivered, MEMBERS);
            while heard.load(Relaxed) < number * MEMBERS {
                sleep(Duration::from_millis(1)).await;
            }
            sleep(Duration::from_millis(10)).await; // who polls asks again
        }
        let spent = server.on_core() - before;
        assert_eq!(heard.load(Relaxed), MESSAGES * MEMBERS);
        spent.as_secs_f64() * 1e6 / (MESSAGES * MEMBERS) as f64
    })
}

async fn websocket(server: SocketAddr, heard: Arc<AtomicUsize>) -> io::Result<()> {
    let handshake = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    listen(server, handshake, heard).await
}

async fn events(server: SocketAddr, heard: Arc<AtomicUsize>) -> io::Result<()> {
    listen(server, "GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n", heard).await
}

/// Requests once, and counts the received messages.
async fn listen(server: SocketAddr, request: &str, heard: Arc<AtomicUsize>) -> io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
        while let Some(at) = find(&read, TEXT) {
            heard.fetch_add(1, Relaxed);
            read.drain(..at + TEXT.len());
        }
    }
}

/// Requests repeatedly, on one connection.
async fn polls(server: SocketAddr, heard: Arc<AtomicUsize>) -> io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    let opened = exchange(&mut stream, r#"{"mode":"long-poll"}"#).await?;
    let token = opened.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let token = token.expect("a token").to_owned();
    let mut cursor = 0;
    loop {
        let asked = format!(r#"{{"token":"{token}","cursor":{cursor},"mode":"long-poll"}}"#);
        let frames = exchange(&mut stream, &asked).await?.lines().count() - 1;
        heard.fetch_add(frames, Relaxed);
        cursor += frames;
    }
}

async fn exchange(stream: &mut TcpStream, body: &str) -> io::Result<String> {
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = find(&read, "\r\n\r\n") else { continue };
        let length = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
        let length =
            length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let length: usize = length.expect("a length");
        if read.len() >= head + 4 + length {
            return Ok(String::from_utf8_lossy(&read[head + 4..]).into_owned());
        }
    }
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}
