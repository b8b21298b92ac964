//! [`Serve`]: a server on one or more listeners, until its shutdown.

use std::{
    convert::Infallible, error::Error as StdError, future::poll_fn, io, net::SocketAddr, pin::Pin,
    task::Poll, time::Duration,
};

use http::{Extensions, Request, Response};
use hyper::{body::Body, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

use super::{
    descriptors::{Headroom, accept_or_refuse},
    permits::{ConnectionPermit, ConnectionPermits, PermittedStream},
    service::{DescriptorsShort, SocketService},
};
use crate::{connections::Drain, scope::Peer};

/// The time limit for the head of a request. Without one, a client that sends no data stays forever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The size limit for the head of a request, in bytes. hyper's default is about 400 KiB.
const MAX_HEAD: usize = 16 << 10;
/// The time that a shutdown waits for hooks and responses after the drain.
const AFTER_DRAIN: Duration = Duration::from_secs(15);
/// The time that connections stay open after the last response was made.
const LAST_RESPONSES: Duration = Duration::from_millis(20);
/// The time limit for the head of a client that is refused for lack of descriptors.
const REFUSED_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves all connections of a listener, forever or until a [graceful shutdown](Serve::with_graceful_shutdown).
///
/// ```no_run
/// use ws_consumer::{Protocols, Router, listen, serve};
///
/// # async fn run() -> std::io::Result<()> {
/// let service = Protocols::new().websocket(Router::new()).into_service(channel_layer::MemoryLayer::default());
/// let stop = async { _ = tokio::signal::ctrl_c().await };
/// serve(listen("127.0.0.1:8000").await?, service).with_graceful_shutdown(stop).await
/// # }
/// ```
pub fn serve<S: IntoSocketService>(listener: TcpListener, service: S) -> Serve<S::Http> {
    Serve {
        listeners: vec![listener],
        service: service.into_socket_service(),
        stop: Box::pin(std::future::pending()),
        drain: Drain::going_away(),
        max_connections: None,
        max_per_address: None,
    }
}

/// The service that [`serve`] takes: a [`SocketService`], and no other type. The trait exists for its compiler message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no service",
    label = "no service",
    note = "`Protocols` become a service by `.into_service(layer)`, such as `.into_service(MemoryLayer::default())`"
)]
pub trait IntoSocketService: sealed::Sealed {
    /// The tower service of plain HTTP.
    type Http;

    /// Returns the service.
    fn into_socket_service(self) -> SocketService<Self::Http>;
}

/// The bounds are those of a server, so that an HTTP service that is none is named here.
impl<H, R> IntoSocketService for SocketService<H>
where
    H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
    R: Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    type Http = H;

    fn into_socket_service(self) -> Self {
        self
    }
}

mod sealed {
    pub trait Sealed {}

    impl<H> Sealed for super::SocketService<H> {}
}

/// A server that runs when it is awaited.
#[must_use = "a server runs when it is awaited"]
pub struct Serve<H> {
    listeners: Vec<TcpListener>,
    service: SocketService<H>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    drain: Drain,
    max_connections: Option<usize>,
    max_per_address: Option<usize>,
}

impl<H> Serve<H> {
    /// Stops when `stop` completes. No further connection is accepted, frames that have arrived are handled and their messages
    /// delivered, WebSockets close with 1001, their `disconnect` hooks run, and pending requests are answered. A later request
    /// over an open connection gets 503. The wait ends 15 s after the end of the [drain](Drain).
    pub fn with_graceful_shutdown(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Box::pin(stop);
        self
    }

    /// Sets the drain of a graceful shutdown. By default all WebSockets are closed at once, with 1001.
    pub fn with_drain(mut self, drain: impl Into<Drain>) -> Self {
        self.drain = drain.into();
        self
    }

    /// Adds a listener.
    pub fn with_listener(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Sets the maximum number of connections of any kind. Further clients wait in the kernel's queue. By
    /// default the number of descriptors is the limit, less a reserve (a quarter of the soft limit, at most
    /// 64) with which the channel layer can reconnect to its backend. While only the reserve is left, a new
    /// client gets 503, or the answer to a [health check](crate::Protocols::health_checks), and is
    /// disconnected.
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// Sets the maximum number of connections from one address. Further ones get 503. Without a limit by default, because
    /// behind a proxy all connections come from one address.
    pub fn with_max_connections_per_address(mut self, connections: usize) -> Self {
        self.max_per_address = Some(connections);
        self
    }
}

impl<H, R> IntoFuture for Serve<H>
where
    H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
    R: Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

async fn run<H, R>(serve: Serve<H>) -> io::Result<()>
where
    H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
    R: Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    let Serve { listeners, service, mut stop, drain, max_connections, max_per_address } = serve;
    service.startup().await.map_err(|error| io::Error::other(error.to_string()))?;
    // A future that listens for signals starts when it is polled, which must happen before the first client.
    let stopped = poll_fn(|cx| Poll::Ready(stop.as_mut().poll(cx).is_ready())).await;
    let (tracked, acceptors) = (TaskTracker::new(), TaskTracker::new());
    let (accepting, stopping) = (CancellationToken::new(), CancellationToken::new());
    let permits = ConnectionPermits::new(max_connections.unwrap_or(usize::MAX), max_per_address);
    for listener in listeners {
        let (service, permits) = (service.clone(), permits.clone());
        // Longer than a WebSocket's own deadline, which tells the consumer the reason.
        let write_timeout = service.limits().write_timeout + service.limits().close_timeout;
        let (tracked, stopping) = (tracked.clone(), stopping.clone());
        let each = move |stream, peer, permit, headroom| {
            let io = PermittedStream::new(stream, permit, write_timeout);
            let mut extensions = extension(Peer(peer));
            extensions.insert(io.stalled());
            if headroom != Headroom::Enough {
                extensions.insert(DescriptorsShort);
            }
            tracked.spawn(connection_with(io, extensions, service.clone(), stopping.clone()));
        };
        let accepting = accepting.clone();
        acceptors
            .spawn(async move { accepting.run_until_cancelled(accept_all(listener, permits, each)).await });
    }
    if !stopped {
        stop.await;
    }
    accepting.cancel();
    acceptors.close();
    acceptors.wait().await; // the listeners are closed, so that clients are refused at once
    let connections = service.connections().clone();
    let limit = drain.time() + AFTER_DRAIN;
    let all_gone = async {
        connections.drain(drain).await;
        tracked.close();
        // The last responses have yet to be written, and requests behind them are refused by a response.
        let _in_time = timeout(LAST_RESPONSES, tracked.wait()).await;
        stopping.cancel();
        tracked.wait().await;
    };
    if timeout(limit, all_gone).await.is_err() {
        tracing::warn!(left = connections.len(), "connections are still open after the drain");
    }
    Ok(())
}

/// Accepts connections forever. A failure, such as a lack of descriptors, must not end the server.
async fn accept_all(
    listener: TcpListener,
    permits: ConnectionPermits,
    each: impl Fn(TcpStream, SocketAddr, ConnectionPermit, Headroom),
) {
    let mut short = false;
    loop {
        let one = permits.acquire().await;
        let (stream, peer, headroom) = accept_or_refuse(&listener, &mut short).await;
        // Frames are written in batches already, so Nagle's algorithm would only add latency.
        let _ = stream.set_nodelay(true);
        match permits.for_address(one, peer.ip()) {
            Some(permit) => each(stream, peer, permit, headroom),
            None => refuse(&stream, peer),
        }
    }
}

/// Refuses a connection beyond the limit of its address, without waiting for the client.
fn refuse(stream: &TcpStream, peer: SocketAddr) {
    tracing::debug!(%peer, "too many connections from one address");
    let _ = stream
        .try_write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

/// Serves one connection whose peer has no address, such as a Unix socket or a pipe in a test. For others, use
/// [`serve_connection_from`].
///
/// Returns at the end of HTTP. An upgraded WebSocket runs on in a task of its own.
pub async fn serve_connection<I, H, R>(io: I, service: SocketService<H>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
    R: Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    connection(io, None, service, CancellationToken::new()).await;
}

/// Serves one connection like [`serve_connection`], for a peer with an address, such as TLS over TCP.
pub async fn serve_connection_from<I, H, R>(io: I, peer: SocketAddr, service: SocketService<H>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
    R: Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    connection(io, Some(peer), service, CancellationToken::new()).await;
}

async fn connection<I, H, R>(
    io: I,
    peer: Option<SocketAddr>,
    service: SocketService<H>,
    stopping: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
    R: Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    connection_with(io, peer.map(|peer| extension(Peer(peer))).unwrap_or_default(), service, stopping).await;
}

/// Serves one connection. Each of its requests gets `extensions`.
pub(super) async fn connection_with<I, H, R>(
    io: I,
    extensions: Extensions,
    service: SocketService<H>,
    stopping: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
    R: Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    let (peer, is_refused) =
        (extensions.get::<Peer>().copied(), extensions.get::<DescriptorsShort>().is_some());
    let respond = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(extensions.clone());
        service.clone().call(request)
    });
    let mut http = http1::Builder::new();
    // Without a timer hyper ignores all timeouts.
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    if is_refused {
        http.header_read_timeout(REFUSED_HEAD_TIMEOUT).keep_alive(false);
    }
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(io), respond).with_upgrades());
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        let peer = peer.map(|Peer(peer)| peer.to_string());
        tracing::debug!(peer, %error, "a connection failed");
    }
}

fn extension(peer: Peer) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(peer);
    extensions
}
