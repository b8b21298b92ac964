//! How many connections there may be, in all and from one address.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

use crate::scope::Stalled;

/// Hands out permits. Clones share them.
#[derive(Clone)]
pub(super) struct Permits {
    all: Arc<Semaphore>,
    addresses: Option<Arc<Addresses>>,
}

struct Addresses {
    limit: usize,
    /// Only addresses that are connected have an entry.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's.
pub(super) struct Permit {
    _one: OwnedSemaphorePermit,
    address: Option<(Arc<Addresses>, IpAddr)>,
}

impl Permits {
    pub(super) fn new(all: usize, per_address: Option<usize>) -> Self {
        let addresses = per_address.map(|limit| Arc::new(Addresses { limit, open: Mutex::default() }));
        Self { all: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))), addresses }
    }

    /// Waits until there may be another connection: until then clients wait with the kernel. Cancel safe.
    pub(super) async fn one(&self) -> OwnedSemaphorePermit {
        let all = self.all.clone();
        all.acquire_owned().await.expect("the semaphore is never closed")
    }

    /// The connection's permit, or nothing if its address has enough of them.
    pub(super) fn of(&self, one: OwnedSemaphorePermit, address: IpAddr) -> Option<Permit> {
        let Some(addresses) = &self.addresses else { return Some(Permit { _one: one, address: None }) };
        let mut open = addresses.open();
        let count = open.entry(address).or_default();
        if *count >= addresses.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Permit { _one: one, address: Some((addresses.clone(), address)) })
    }
}

impl Addresses {
    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((addresses, address)) = self.address.take() else { return };
        let mut open = addresses.open();
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

/// A connection with its permit: it is returned when the connection is dropped, upgraded or not. One whose client takes
/// nothing of what is written fails: HTTP has no deadline of its own for that.
pub(super) struct Permitted<S> {
    io: S,
    patience: Duration,
    /// While the client takes nothing. Boxed: nearly every connection does without.
    waiting: Option<Pin<Box<Sleep>>>,
    stalled: Stalled,
    _permit: Permit,
}

impl<S> Permitted<S> {
    pub(super) fn new(io: S, permit: Permit, patience: Duration) -> Self {
        Self { io, patience, waiting: None, stalled: Stalled::default(), _permit: permit }
    }

    /// Tells whether it has failed because its client takes nothing.
    pub(super) fn stalled(&self) -> Stalled {
        self.stalled.clone()
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        waiting.as_mut().poll(cx).map(|()| {
            self.stalled.set();
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Permitted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Permitted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.watch(cx, written)
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
    async fn a_client_that_takes_nothing_fails_and_one_that_takes_a_little_does_not() {
        let permits = Permits::new(10, None);
        let permit = permits.of(permits.one().await, [127, 0, 0, 1].into()).unwrap();
        let (server, mut client) = tokio::io::duplex(10);
        let mut server = Permitted::new(server, permit, Duration::from_secs(20));
        let began = tokio::time::Instant::now();
        let written = tokio::spawn(async move { server.write_all(&[0; 15]).await });
        sleep(Duration::from_secs(19)).await;
        client.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(written.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 39);
    }

    #[tokio::test]
    async fn an_address_has_so_many_and_gets_them_back() {
        let permits = Permits::new(10, Some(2));
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let first = permits.of(permits.one().await, one).unwrap();
        let _second = permits.of(permits.one().await, one).unwrap();
        assert!(permits.of(permits.one().await, one).is_none());
        assert!(permits.of(permits.one().await, other).is_some());
        drop(first);
        assert!(permits.of(permits.one().await, one).is_some());
        assert_eq!(permits.all.available_permits(), 9);
        assert_eq!(permits.addresses.as_ref().unwrap().open().len(), 1, "who is gone is forgotten");
    }
}
