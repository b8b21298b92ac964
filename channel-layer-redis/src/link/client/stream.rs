//! Byte streams to a server, for connections that the client crate does not open itself.

use std::{io, time::Duration};

use futures_util::future::select_ok;
use redis::io::tcp::{
    TcpSettings,
    socket2::{SockRef, TcpKeepalive},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

use crate::config::{RedisConfig, Server, ServerAddress};

/// TCP, a Unix socket, or TLS.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}

pub(super) async fn open(server: &Server, config: &RedisConfig) -> io::Result<Box<dyn ByteStream>> {
    match &server.address {
        ServerAddress::Tcp { host, port, tls: false } => Ok(Box::new(tcp(host, *port).await?)),
        ServerAddress::Tcp { host, port, tls: true } => secured(host, tcp(host, *port).await?, config).await,
        #[cfg(unix)]
        ServerAddress::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        ServerAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Connects to the host's address that is reached first.
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

/// Settings by which the kernel notices a dead peer too, on connections without traffic of their own.
pub(super) fn tcp_settings() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(10));
    settings
}
