//! A TCP proxy that can behave badly.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What it does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Carries them.
    Pass,
    /// Ends connections, and refuses new ones.
    Refuse,
    /// Takes them and says nothing: both sides believe that the other is there.
    Swallow,
}

pub struct Proxy {
    pub port: u16,
    manners: Arc<watch::Sender<Manners>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let manners = Arc::new(watch::Sender::new(Manners::Pass));
        let task = tokio::spawn(serve(listener, port, manners.clone()));
        Self { port: own, manners, task }
    }

    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub fn set(&self, manners: Manners) {
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
    tokio::select! {
        () = copy(client_in, server_out, manners.clone()) => {}
        () = copy(server_in, client_out, manners) => {}
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut manners: watch::Receiver<Manners>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = tokio::select! {
            count = from.read(&mut buffer) => count.unwrap_or(0),
            refused = manners.wait_for(|manners| *manners == Manners::Refuse) => {
                drop(refused);
                return;
            }
        };
        if count == 0 {
            return;
        }
        let passes = *manners.borrow() == Manners::Pass;
        if passes && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
