//! A real server on a free port, for other clients: browsers, libraries, other languages.

use std::{convert::Infallible, error::Error as StdError, io, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::{sync::oneshot, task::JoinHandle};
use tower_service::Service;

use crate::server::{SocketService, listen, serve};

/// A running server. Dropping it begins its shutdown; [`stop`](Self::stop) waits for the end of it.
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
        let listener = listen("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve(listener, service).with_graceful_shutdown(async { _ = stopped.await });
        Ok(Self { address, stop: Some(stop), server: tokio::spawn(server.into_future()) })
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The URL of a socket.
    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
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
