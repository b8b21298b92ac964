//! All connections of a service: how many there are, and how they end together.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio_util::task::TaskTracker;

use crate::{frame::Close, wire::Link};

/// The sockets of one service. Clones are the same.
#[derive(Clone, Default)]
pub struct Sockets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Knows when the last task of a connection has ended, its `disconnect` hook included.
    tasks: TaskTracker,
    closing: AtomicBool,
    /// What is to be done once all have gone. Set once, before the first connection.
    afterwards: OnceLock<Afterwards>,
    /// A lock held for a look-up; written once as a connection comes and once as it goes.
    open: Mutex<Open>,
}

type Afterwards = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Default)]
struct Open {
    next: u64,
    links: HashMap<u64, Arc<Link>>,
}

/// A connection's entry, for as long as it lives.
pub(crate) struct Registration {
    sockets: Sockets,
    key: u64,
}

impl Sockets {
    /// How many connections there are, those included that are about to begin or to end.
    pub fn len(&self) -> usize {
        self.open().links.len()
    }

    /// Is there no connection?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all connections with close code 1001 and lets no further one in. Returns once every `disconnect` hook
    /// has run, and the shutdown hooks after them.
    ///
    /// Each connection ends within its close timeout and the grace of its hooks. Cancel safe: the connections go on
    /// ending.
    pub async fn close(&self) {
        self.close_with(Close::GOING_AWAY).await;
    }

    /// As [`close`](Self::close), with another code or a reason.
    pub async fn close_with(&self, close: impl Into<Close>) {
        self.begin_close(&close.into());
        self.0.tasks.close();
        self.0.tasks.wait().await;
        if let Some(afterwards) = self.0.afterwards.get() {
            afterwards().await;
        }
    }

    pub(crate) fn set_afterwards(&self, afterwards: Afterwards) {
        let _set_before = self.0.afterwards.set(afterwards);
    }

    /// Is it closing, or closed?
    pub fn is_closing(&self) -> bool {
        self.0.closing.load(Relaxed)
    }

    fn begin_close(&self, close: &Close) {
        // Under the lock, so that a connection is either seen here or sees the flag.
        let open = self.open();
        self.0.closing.store(true, Relaxed);
        let links: Vec<_> = open.links.values().cloned().collect();
        drop(open);
        for link in links {
            link.shut_down(close.clone());
        }
    }

    /// Enters a connection; nothing if the service is closing.
    pub(crate) fn register(&self, link: &Arc<Link>) -> Option<Registration> {
        let mut open = self.open();
        if self.is_closing() {
            return None;
        }
        let key = open.next;
        open.next += 1;
        open.links.insert(key, link.clone());
        Some(Registration { sockets: self.clone(), key })
    }

    /// Runs a task of a connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut open = self.sockets.open();
        open.links.remove(&self.key);
        // A crowd that left gives its memory back.
        if open.links.capacity() > 64 && open.links.len() * 4 < open.links.capacity() {
            open.links.shrink_to_fit();
        }
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("len", &self.len()).field("closing", &self.is_closing()).finish()
    }
}
