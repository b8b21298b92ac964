//! A proxy between a page and its server, with the faults that a test wants.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A [`Proxy`]'s answer to requests for an upgrade, such as a WebSocket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrades {
    /// Forwards them.
    Pass,
    /// Answers 400.
    Refuse,
    /// Answers 400, and breaks off requests for an event stream.
    RefuseAndStreams,
    /// Never answers.
    Hang,
    /// Forwards them without the upgrade headers: the server sees a plain request.
    Strip,
}

/// A proxy in front of a server. Dropping it ends all connections.
#[derive(Debug)]
pub struct Proxy {
    /// The address that it listens on.
    pub address: SocketAddr,
    /// The number of times that connections have been cut; a change ends the present ones.
    cuts: watch::Sender<u64>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy in front of `server`, on a free port.
    pub async fn start(server: SocketAddr, upgrades: Upgrades) -> Self {
        Self::between(vec![server], upgrades).await
    }

    /// Starts a proxy in front of several servers: each connection goes to the next one.
    pub async fn between(servers: Vec<SocketAddr>, upgrades: Upgrades) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port is known");
        let cuts = watch::Sender::new(0);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, servers, upgrades, cuts.clone()));
        Self { address, cuts, _accepting: accepting }
    }

    /// Cuts every connection, in the middle of a frame or not.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The address of a page.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn accept(
    listener: TcpListener,
    servers: Vec<SocketAddr>,
    upgrades: Upgrades,
    cuts: watch::Sender<u64>,
) {
    let mut connections = JoinSet::new();
    let mut turns = servers.into_iter().cycle();
    while let (Ok((client, _)), Some(server)) = (listener.accept().await, turns.next()) {
        let mut cut = cuts.subscribe();
        connections.spawn(async move {
            tokio::select! {
                _ = carry(client, server, upgrades) => {}
                _ = cut.changed() => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

// A browser opens a separate connection for each WebSocket, so the first request is enough.
async fn carry(mut client: TcpStream, server: SocketAddr, upgrades: Upgrades) -> io::Result<()> {
    let head = read_head(&mut client).await?;
    let asks = head.lines().any(|line| line.to_ascii_lowercase().starts_with("upgrade:"));
    let head = match upgrades {
        Upgrades::Refuse | Upgrades::RefuseAndStreams if asks => return refuse(&mut client).await,
        Upgrades::Hang if asks => return std::future::pending().await,
        Upgrades::Strip if asks => without_upgrade(&head),
        _ => head,
    };
    let mut upstream = TcpStream::connect(server).await?;
    if upgrades == Upgrades::RefuseAndStreams {
        return carry_no_streams(&head, &mut client, &mut upstream).await;
    }
    upstream.write_all(head.as_bytes()).await?;
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

// A browser writes the head of a request at once, and often more than one request to a connection.
async fn carry_no_streams(head: &str, client: &mut TcpStream, upstream: &mut TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = upstream.split();
    let up = async {
        let mut bytes = head.as_bytes().to_vec();
        while !bytes.windows(STREAM.len()).any(|window| window == STREAM) {
            to_server.write_all(&bytes).await?;
            bytes.clear();
            if from_client.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        ended = up => ended,
        ended = down => ended.map(drop),
    }
}

const STREAM: &[u8] = b"text/event-stream";

/// The bytes read until the first request's head is complete; browsers write it in ASCII.
async fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

async fn refuse(client: &mut TcpStream) -> io::Result<()> {
    client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
    client.shutdown().await
}

fn without_upgrade(head: &str) -> String {
    let asks = |line: &str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("upgrade:") || line.starts_with("connection:")
    };
    head.split_inclusive("\r\n").filter(|line| !asks(line)).collect()
}
