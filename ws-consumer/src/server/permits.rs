//! How many connections there may be, in all and from one address.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};

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

/// A connection with its permit: it is returned when the connection is dropped, upgraded or not.
pub(super) struct Permitted<S> {
    io: S,
    _permit: Permit,
}

impl<S> Permitted<S> {
    pub(super) fn new(io: S, permit: Permit) -> Self {
        Self { io, _permit: permit }
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
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
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
    use super::*;

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
