//! A byte stream to a server, for what the client crate has no connection of its own for.

use std::io;

use futures_util::future::select_ok;
use redis::io::tcp::socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

use super::tcp_settings;
use crate::config::{Address, RedisConfig, Server};

/// TCP, a Unix socket, or TLS.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}

pub(super) async fn open(server: &Server, config: &RedisConfig) -> io::Result<Box<dyn ByteStream>> {
    match &server.address {
        Address::Tcp { host, port, tls: false } => Ok(Box::new(tcp(host, *port).await?)),
        Address::Tcp { host, port, tls: true } => secured(host, tcp(host, *port).await?, config).await,
        #[cfg(unix)]
        Address::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Connects to the first of the host's addresses that answers.
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let attempts: Vec<_> =
        lookup_host((host, port)).await?.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    }
    let (stream, _) = select_ok(attempts).await?;
    let settings = tcp_settings();
    stream.set_nodelay(settings.nodelay())?;
    let socket = SockRef::from(&stream);
    if let Some(keepalive) = settings.keepalive() {
        socket.set_tcp_keepalive(keepalive)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(settings.user_timeout())?;
    Ok(stream)
}

async fn secured(_: &str, _: TcpStream, _: &RedisConfig) -> io::Result<Box<dyn ByteStream>> {
    let reason = "subscriptions over TLS need HELLO (RESP3), which the server lacks or forbids";
    Err(io::Error::new(io::ErrorKind::Unsupported, reason))
}
