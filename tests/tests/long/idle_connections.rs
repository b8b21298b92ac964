//! The greatest number of idle members, all of whom still receive messages.

use std::{
    fmt::Write,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::MemoryLayer;
use channels_tests::{Lane, Member, Server, may_open, resident, within};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};
use ws_consumer::{Consumer, Frame, NoEvents, Protocols, Result, Router, Socket, serve_connection};

const CROWD: usize = 100_000;
/// Longer than the time until every member has been pinged, and dropped if it did not answer.
const SILENCE: Duration = Duration::from_secs(45);
/// The descriptors for other uses than members' connections.
const OTHERS: usize = 300;

/// The messages that members have received so far.
#[derive(Default)]
struct Heard {
    members: AtomicUsize,
    broadcasts: AtomicUsize,
}

impl Heard {
    async fn by(&self, members: usize, broadcasts: usize) {
        let all = async {
            while self.broadcasts.load(Relaxed) < members * broadcasts {
                sleep(Duration::from_millis(10)).await;
            }
        };
        within("the broadcast at everybody", all).await;
        assert_eq!(self.broadcasts.load(Relaxed), members * broadcasts);
        assert_eq!(self.members.load(Relaxed), members, "members that are still there");
    }
}

/// A member that takes little memory: it answers pings, and counts other messages.
async fn member(mut io: impl AsyncRead + AsyncWrite + Unpin, heard: Arc<Heard>) -> io::Result<()> {
    heard.members.fetch_add(1, Relaxed);
    let ended: io::Result<()> = async {
        loop {
            let [first, length] = [io.read_u8().await?, io.read_u8().await?];
            assert!(length < 126, "the crowd hears short messages");
            let mut payload = vec![0; usize::from(length)];
            io.read_exact(&mut payload).await?;
            match first {
                0x89 => io.write_all(&[0x8A, 0x80, 0, 0, 0, 0]).await?,
                0x81 => _ = heard.broadcasts.fetch_add(1, Relaxed),
                _ => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
    }
    .await;
    heard.members.fetch_sub(1, Relaxed);
    ended
}

async fn enter(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut request = String::from("GET /ws/chat/square/ HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n");
    let _ = write!(request, "upgrade: websocket\r\nsec-websocket-version: 13\r\n");
    let _ = write!(request, "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    io.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await?);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    Ok(())
}

async fn connect(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // A thousand from each address: one alone would run out of ports.
    socket.bind(([127, 0, 2, (number / 1000) as u8 + 1], 0).into())?;
    let mut stream = socket.connect(address).await?;
    enter(&mut stream).await?;
    Ok(stream)
}

/// A hundred thousand, or as many as a process is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_keeps_idle_clients() {
    let members = CROWD.min(may_open() - OTHERS);
    let server = Server::chat(Lane::Handler).await;
    let (before, heard) = (resident(&server.program), Arc::new(Heard::default()));
    let (mut crowd, at_once) = (JoinSet::new(), Arc::new(Semaphore::new(64)));
    for number in 0..members {
        let (address, heard, at_once) = (server.address, heard.clone(), at_once.clone());
        crowd.spawn(async move {
            let turn = at_once.acquire().await.expect("never closed");
            let stream = connect(address, number).await.expect("a member is let in");
            drop(turn);
            member(stream, heard).await
        });
    }
    while heard.members.load(Relaxed) < members {
        sleep(Duration::from_millis(100)).await;
    }
    println!("{members} members, {} bytes each", (resident(&server.program) - before) / members);
    for round in 1..=2 {
        // Connects for this only: it could not answer pings while it is not reading.
        Member::join(&server, "square").await.say("is anybody there?").await;
        heard.by(members, round).await;
        sleep(SILENCE / 2).await;
    }
    println!("after two broadcasts: {} bytes each", (resident(&server.program) - before) / members);
    assert_eq!(heard.members.load(Relaxed), members, "members that are still there");
}

/// A message in the chat's form.
#[derive(Default)]
struct Chat {
    group: String,
}

impl Consumer for Chat {
    type Event = NoEvents;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        self.group = format!("chat_{}", socket.scope().param("room")?);
        socket.group_add(&self.group).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let text: String = frame.json()?;
        socket.group_send_json(&self.group, &text).await
    }
}

/// Connections over pipes, which take no descriptors.
#[tokio::test]
async fn service_keeps_a_hundred_thousand() {
    let router = Router::new().consumer("/ws/chat/{room}/", Chat::default);
    let service = Protocols::new().websocket(router).into_service(Arc::new(MemoryLayer::default()));
    let heard = Arc::new(Heard::default());
    let join = async || {
        let (mut client, server) = duplex(512);
        tokio::spawn(serve_connection(server, service.clone()));
        enter(&mut client).await.expect("a member is let in");
        client
    };
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        crowd.spawn(member(join().await, heard.clone()));
    }
    assert!(service.connections().len() >= CROWD);
    for round in 1..=2 {
        join().await.write_all(b"\x81\x84\0\0\0\0\"hi\"").await.expect("open");
        heard.by(CROWD, round).await;
        sleep(SILENCE / 2).await;
    }
}
