//! Serving a listener until told to stop.

use std::{convert::Infallible, error::Error as StdError, io, net::SocketAddr, pin::Pin, time::Duration};

use http::{Request, Response};
use hyper::{body::Body, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;

use super::service::SocketService;
use crate::scope::Peer;

/// From the first byte to the end of the headers. Without a limit, a client that sends nothing stays for ever.
const HEADERS: Duration = Duration::from_secs(10);
/// Bytes of a request's head; hyper's own limit is about 400 KiB.
const HEAD: usize = 16 << 10;
/// How long a shutdown waits for everybody.
const DRAIN: Duration = Duration::from_secs(15);
/// After a failed `accept`: long enough for descriptors to come free, short enough for nobody to notice.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Serves all connections of a listener, for ever or until [told to stop](Serve::with_graceful_shutdown).
///
/// ```no_run
/// use std::sync::Arc;
/// use ws_consumer::{Protocols, Router, serve};
///
/// # async fn run() -> std::io::Result<()> {
/// let service = Protocols::new()
///     .websocket(Router::new())
///     .into_service(Arc::new(channel_layer::MemoryLayer::default()));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
/// serve(listener, service).with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await }).await
/// # }
/// ```
pub fn serve<H>(listener: TcpListener, service: SocketService<H>) -> Serve<H> {
    Serve { listener, service, stop: Box::pin(std::future::pending()) }
}

/// A server about to run: await it.
#[must_use = "a server runs when it is awaited"]
pub struct Serve<H> {
    listener: TcpListener,
    service: SocketService<H>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<H> Serve<H> {
    /// Stops when `stop` is done: no further connection is accepted, sockets close with 1001, their `disconnect`
    /// hooks run, and requests under way are answered. After 15 s it gives up waiting.
    pub fn with_graceful_shutdown(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Box::pin(stop);
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
    let Serve { listener, service, mut stop } = serve;
    let (connections, stopping) = (TaskTracker::new(), CancellationToken::new());
    let sockets = service.sockets().clone();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut stop => break,
        };
        let (service, stopping) = (service.clone(), stopping.clone());
        connections.spawn(async move { connection(stream, Some(peer), service, stopping).await });
    }
    drop(listener); // from now on clients are refused, not kept waiting
    stopping.cancel();
    connections.close();
    let drained = timeout(DRAIN, async { tokio::join!(sockets.close(), connections.wait()) }).await;
    if drained.is_err() {
        tracing::warn!(left = sockets.len(), "not everybody left in time");
    }
    Ok(())
}

/// The next connection. A failure, such as running out of descriptors, must not end the server.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Frames are written in batches already; waiting for more would only add latency.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(BACK_OFF).await;
            }
        }
    }
}

/// Serves one connection of any kind: a Unix socket, TLS, a pipe in a test.
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
    let respond = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(peer.map(|peer| extension(Peer(peer))).unwrap_or_default());
        service.clone().call(request)
    });
    let mut http = http1::Builder::new();
    // Without a timer hyper has no timeouts at all, and says nothing about it.
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEAD);
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

fn extension(peer: Peer) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    extensions.insert(peer);
    extensions
}
