//! A real server on a free port, for other clients: browsers, libraries, other languages.

use std::{
    convert::Infallible,
    error::Error as StdError,
    io,
    net::{Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::{sync::oneshot, task::JoinHandle};
use tower_service::Service;

use crate::server::{SocketService, listen, serve};

/// A running server. Dropping it begins its shutdown; [`stop`](Self::stop) waits for the end of it.
///
/// Any tower service serves the pages for a browser, such as a folder's:
///
/// ```
/// # use std::sync::Arc;
/// # use ws_consumer::{Protocols, Router, testing::LiveServer};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use tower_http::services::ServeDir;
///
/// let layer = Arc::new(channel_layer::MemoryLayer::default());
/// let protocols = Protocols::new().websocket(Router::new()).http(ServeDir::new("tests/pages"));
/// let server = LiveServer::start(protocols.into_service(layer)).await?;
/// let page = server.url("/chat.html"); // for the browser
/// # server.stop().await
/// # }
/// ```
///
/// Clients that are no browsers pass the origin check without an `Origin`, or with that of [`origin`](Self::origin):
///
/// ```
/// # use ws_consumer::{Protocols, Router, testing::LiveServer};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let layer = channel_layer::MemoryLayer::default();
/// let server = LiveServer::start(Protocols::new().websocket(Router::new()).into_service(layer)).await?;
/// assert!(server.ws_url("/chat").starts_with("ws://127.0.0.1:"));
/// server.stop().await
/// # }
/// ```
pub struct LiveServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<io::Result<()>>,
}

impl LiveServer {
    /// Starts a server on a free port of this machine alone.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start<H, R>(service: SocketService<H>) -> io::Result<Self>
    where
        H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
        H::Future: Send,
        R: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        Self::start_on("127.0.0.1:0", service).await
    }

    /// Starts a server on this address, for a browser that runs elsewhere: `0.0.0.0:0` is a free port of all interfaces.
    ///
    /// # Errors
    /// When the address is in use, or is none.
    pub async fn start_on<H, R>(address: &str, service: SocketService<H>) -> io::Result<Self>
    where
        H: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
        H::Future: Send,
        R: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let listener = listen(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve(listener, service).with_graceful_shutdown(async { _ = stopped.await });
        Ok(Self { address, stop: Some(stop), server: tokio::spawn(server.into_future()) })
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address in URLs: one of this machine, if the server listens on all.
    fn host(&self) -> SocketAddr {
        let ip =
            if self.address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.address.ip() };
        SocketAddr::new(ip, self.address.port())
    }

    /// The origin of the server's pages.
    pub fn origin(&self) -> String {
        format!("http://{}", self.host())
    }

    /// The URL of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    /// The URL of a socket.
    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.host())
    }

    /// Shuts it down, and waits until every connection has ended.
    ///
    /// # Errors
    /// The error that the server ended with.
    pub async fn stop(mut self) -> io::Result<()> {
        drop(self.stop.take());
        self.server.await?
    }
}
