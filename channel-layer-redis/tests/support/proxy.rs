//! A TCP proxy with configurable misbehaviour.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// The treatment of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Forwards them, except on connections with subscriptions, where it drops them.
    Deafen,
    /// Forwards them, except messages of subscriptions: a working server that delivers none.
    Mute,
    /// Forwards them.
    Pass,
    /// Closes connections, and refuses new ones.
    Refuse,
    /// Leaves them unread: the buffers of the other side fill up.
    Stall,
    /// Reads and drops them: to each side, the other seems to be connected.
    Swallow,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    manners: Arc<watch::Sender<Manners>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let manners = Arc::new(watch::Sender::new(Manners::Pass));
        let task = tokio::spawn(serve(listener, port, manners.clone()));
        Self { port: own, manners, task }
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn set(&self, manners: Manners) {
        self.manners.send_replace(manners);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, port: u16, manners: Arc<watch::Sender<Manners>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        if *manners.borrow() != Manners::Refuse {
            connections.spawn(carry(stream, port, manners.subscribe()));
        }
    }
}

async fn carry(client: TcpStream, port: u16, manners: watch::Receiver<Manners>) {
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let listens = AtomicBool::new(false);
    tokio::select! {
        () = copy(client_in, server_out, manners.clone(), &listens) => {}
        () = copy(server_in, client_out, manners, &listens) => {}
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut manners: watch::Receiver<Manners>,
    listens: &AtomicBool,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        if manners.wait_for(|manners| *manners != Manners::Stall).await.is_err() {
            return;
        }
        let count = tokio::select! {
            count = from.read(&mut buffer) => count.unwrap_or(0),
            changed = manners.changed() => match changed {
                Ok(()) if *manners.borrow() != Manners::Refuse => continue,
                _ => return,
            },
        };
        let bytes = &buffer[..count];
        if bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
            listens.store(true, Relaxed);
        }
        let carried = match *manners.borrow() {
            Manners::Deafen => !listens.load(Relaxed),
            Manners::Mute => !bytes.starts_with(b">3\r\n$7\r\nmessage"),
            Manners::Pass | Manners::Stall => true,
            Manners::Refuse => return,
            Manners::Swallow => false,
        };
        if count == 0 || (carried && to.write_all(bytes).await.is_err()) {
            return;
        }
    }
}
