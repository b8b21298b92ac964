//! Limits on the number of connections, in total and per address.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

use crate::{
    connections::{AddressCounts, CountedAddress},
    scope::Stalled,
};

/// The permits of a server's connections. Clones share them.
#[derive(Clone)]
pub(super) struct ConnectionPermits {
    all: Arc<Semaphore>,
    addresses: AddressCounts,
    per_address: usize,
}

/// The permit of a connection.
pub(super) struct ConnectionPermit {
    _one: OwnedSemaphorePermit,
    /// The entry of its address, if addresses have a limit.
    _address: Option<CountedAddress>,
}

impl ConnectionPermits {
    pub(super) fn new(all: usize, per_address: Option<usize>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            addresses: AddressCounts::default(),
            per_address: per_address.unwrap_or(usize::MAX),
        }
    }

    /// Waits until another connection is allowed. Clients wait in the kernel's queue until then. Cancel safe.
    pub(super) async fn acquire(&self) -> OwnedSemaphorePermit {
        let all = self.all.clone();
        all.acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Completes the permit of a connection. `None` if its address has reached the limit.
    pub(super) fn for_address(&self, one: OwnedSemaphorePermit, address: IpAddr) -> Option<ConnectionPermit> {
        let counted = match self.per_address {
            usize::MAX => None,
            limit => Some(self.addresses.enter(address, limit)?),
        };
        Some(ConnectionPermit { _one: one, _address: counted })
    }
}

/// A stream with its permit, which is returned when the stream is dropped, upgraded or not. Writing fails with a timeout
/// if the client takes no data, for which HTTP has no deadline of its own.
pub(super) struct PermittedStream<S> {
    io: S,
    write_timeout: Duration,
    /// The timeout while the client takes no data. Boxed: nearly all connections have none.
    waiting: Option<Pin<Box<Sleep>>>,
    stalled: Stalled,
    _permit: ConnectionPermit,
}

impl<S> PermittedStream<S> {
    pub(super) fn new(io: S, permit: ConnectionPermit, write_timeout: Duration) -> Self {
        Self { io, write_timeout, waiting: None, stalled: Stalled::default(), _permit: permit }
    }

    /// Returns the flag that is set when the stream fails because its client takes no data.
    pub(super) fn stalled(&self) -> Stalled {
        self.stalled.clone()
    }

    fn limit_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let write_timeout = self.write_timeout;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(write_timeout)));
        waiting.as_mut().poll(cx).map(|()| {
            self.stalled.set();
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PermittedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PermittedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.limit_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.limit_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fails_without_write_progress() {
        let permits = ConnectionPermits::new(10, None);
        let permit = permits.for_address(permits.acquire().await, [127, 0, 0, 1].into()).unwrap();
        let (server, mut client) = tokio::io::duplex(10);
        let mut server = PermittedStream::new(server, permit, Duration::from_secs(20));
        let began = tokio::time::Instant::now();
        let written = tokio::spawn(async move { server.write_all(&[0; 15]).await });
        sleep(Duration::from_secs(19)).await;
        client.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(written.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 39);
    }

    #[tokio::test]
    async fn limits_and_returns_permits() {
        let permits = ConnectionPermits::new(10, Some(2));
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let first = permits.for_address(permits.acquire().await, one).unwrap();
        let _second = permits.for_address(permits.acquire().await, one).unwrap();
        assert!(permits.for_address(permits.acquire().await, one).is_none());
        assert!(permits.for_address(permits.acquire().await, other).is_some());
        drop(first);
        assert!(permits.for_address(permits.acquire().await, one).is_some());
        assert_eq!(permits.all.available_permits(), 9);
    }
}
