//! Serving a listener until told to stop.

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
    descriptors::{Room, accept_or_refuse},
    permits::{Permit, Permits, Permitted},
    service::{Crowded, SocketService},
};
use crate::{connections::Drain, scope::Peer};

/// From the first byte to the end of the headers. Without a limit, a client that sends nothing stays for ever.
const HEADERS: Duration = Duration::from_secs(10);
/// Bytes of a request's head; hyper's own limit is about 400 KiB.
const HEAD: usize = 16 << 10;
/// The time that a shutdown waits for hooks and answers after the drain.
const DRAIN: Duration = Duration::from_secs(15);
/// The time that connections are left open after the last answer was made.
const LAST_ANSWERS: Duration = Duration::from_millis(20);
/// The limit for the headers of a client that is only accepted to be refused, for lack of descriptors.
const HEADERS_IF_SHORT: Duration = Duration::from_secs(1);

/// Serves all connections of a listener, for ever or until [told to stop](Serve::with_graceful_shutdown).
///
/// ```no_run
/// use std::sync::Arc;
/// use ws_consumer::{Protocols, Router, listen, serve};
///
/// # async fn run() -> std::io::Result<()> {
/// let service = Protocols::new()
///     .websocket(Router::new())
///     .into_service(Arc::new(channel_layer::MemoryLayer::default()));
/// let stop = async { _ = tokio::signal::ctrl_c().await };
/// serve(listen("127.0.0.1:8000").await?, service).with_graceful_shutdown(stop).await
/// # }
/// ```
pub fn serve<H>(listener: TcpListener, service: SocketService<H>) -> Serve<H> {
    Serve {
        listeners: vec![listener],
        service,
        stop: Box::pin(std::future::pending()),
        drain: Drain::going_away(),
        max_connections: None,
        max_per_address: None,
    }
}

/// A server about to run: await it.
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
    /// Stops when `stop` is done: no further connection is accepted, what clients have said is handled and delivered, sockets
    /// close with 1001, their `disconnect` hooks run, and requests under way are answered. A request that comes later over a
    /// connection that is open gets 503. 15 s after the end of the [drain](Drain) it gives up waiting.
    pub fn with_graceful_shutdown(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Box::pin(stop);
        self
    }

    /// How sockets are closed when it stops: by default all at once with 1001.
    pub fn with_drain(mut self, drain: impl Into<Drain>) -> Self {
        self.drain = drain.into();
        self
    }

    /// Serves another listener too.
    pub fn with_listener(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Sets the greatest number of connections of any kind; further clients wait in the kernel's queue. By
    /// default as many as there are descriptors, but for a reserve (a quarter of the soft limit, 64 at the
    /// most), so that the channel layer can reconnect to its backend. While only the reserve is left, a new
    /// client gets 503, or the answer to a [health check](crate::Protocols::health_checks), and is
    /// disconnected.
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// How many connections there may be from one address; further ones get 503. By default there is no limit: behind a
    /// proxy all come from one.
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
    // It may listen for signals, and begins to when it is polled: a client must not come in before that.
    let stopped = poll_fn(|cx| Poll::Ready(stop.as_mut().poll(cx).is_ready())).await;
    let (tracked, acceptors) = (TaskTracker::new(), TaskTracker::new());
    let (accepting, stopping) = (CancellationToken::new(), CancellationToken::new());
    let permits = Permits::new(max_connections.unwrap_or(usize::MAX), max_per_address);
    for listener in listeners {
        let (service, permits) = (service.clone(), permits.clone());
        // A WebSocket's own deadline comes first, and tells the consumer why.
        let patience = service.limits().write_timeout + service.limits().close_timeout;
        let (tracked, stopping) = (tracked.clone(), stopping.clone());
        let each = move |stream, peer, permit, room| {
            let io = Permitted::new(stream, permit, patience);
            let mut extensions = extension(Peer(peer));
            extensions.insert(io.stalled());
            if room != Room::Enough {
                extensions.insert(Crowded);
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
    acceptors.wait().await; // the listeners are closed: clients are refused, not kept waiting
    let connections = service.connections().clone();
    let limit = drain.time() + DRAIN;
    let all_gone = async {
        connections.drain(drain).await;
        tracked.close();
        // What was answered last has yet to be written, and what was sent behind it is refused by an answer.
        let _in_time = timeout(LAST_ANSWERS, tracked.wait()).await;
        stopping.cancel();
        tracked.wait().await;
    };
    if timeout(limit, all_gone).await.is_err() {
        tracing::warn!(left = connections.len(), "connections are still open after the drain");
    }
    Ok(())
}

/// Accepts for ever. A failure, such as running out of descriptors, must not end the server.
async fn accept_all(
    listener: TcpListener,
    permits: Permits,
    each: impl Fn(TcpStream, SocketAddr, Permit, Room),
) {
    let mut short = false;
    loop {
        let one = permits.one().await;
        let (stream, peer, room) = accept_or_refuse(&listener, &mut short).await;
        // Frames are written in batches already; waiting for more would only add latency.
        let _ = stream.set_nodelay(true);
        match permits.of(one, peer.ip()) {
            Some(permit) => each(stream, peer, permit, room),
            None => turn_away(&stream, peer),
        }
    }
}

/// Too many from one address. Whether it takes the answer is its own affair.
fn turn_away(stream: &TcpStream, peer: SocketAddr) {
    tracing::debug!(%peer, "too many connections from one address");
    let _ = stream
        .try_write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

/// Serves one connection of any kind whose other end has no address: a Unix socket, a pipe in a test. Where it has one,
/// [`serve_connection_from`] tells it.
///
/// Returns when HTTP is over; a socket that was upgraded lives on in a task of its own.
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

/// `extensions` are those of each of its requests.
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
    let (peer, is_crowded) = (extensions.get::<Peer>().copied(), extensions.get::<Crowded>().is_some());
    let respond = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(extensions.clone());
        service.clone().call(request)
    });
    let mut http = http1::Builder::new();
    // Without a timer hyper has no timeouts at all, and says nothing about it.
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEAD);
    if is_crowded {
        http.header_read_timeout(HEADERS_IF_SHORT).keep_alive(false);
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
        tracing::debug!(?peer, %error, "a connection failed");
    }
}

fn extension(peer: Peer) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(peer);
    extensions
}
