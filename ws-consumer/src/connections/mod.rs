//! [`Connections`]: the registry of a service's open connections, with their statistics, layer events and [`Drain`].

mod address_counts;
mod drain;
mod layer_events;
mod layers;

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::drain::Drain;
use self::layers::ServedLayers;
pub(crate) use self::{
    address_counts::{AddressCounts, CountedAddress},
    drain::INPUT_TIMEOUT,
    layer_events::EventForwarding,
};
use crate::{error::FailureReports, sync::lock, wire::Connection};

/// The open connections of a service. Clones share one registry.
#[derive(Clone, Default)]
pub struct Connections(Arc<SharedConnections>);

#[derive(Default)]
struct SharedConnections {
    /// The tasks of WebSockets, including their `disconnect` hooks.
    tasks: TaskTracker,
    /// The tasks of plain requests.
    requests: TaskTracker,
    closing: AtomicBool,
    /// The channel layers of the connections. Set once, before the first connection.
    layers: OnceLock<ServedLayers>,
    /// The rate limits of logged failures.
    reports: Arc<FailureReports>,
    /// The shutdown hooks, run after the last connection. Set once, before the first connection.
    on_drained: OnceLock<DrainedHook>,
    /// Cancelled at the end of a drain.
    drained: CancellationToken,
    /// The open connections. Locked briefly, once at the beginning and once at the end of a connection.
    open: Mutex<OpenConnections>,
}

type DrainedHook = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Default)]
struct OpenConnections {
    /// The number of connections so far, and the key of the last one.
    total: u64,
    connections: HashMap<u64, Arc<Connection>>,
    /// Connections that only serve others, which are among the `connections` themselves.
    uncounted: HashMap<u64, Arc<Connection>>,
    last_uncounted: u64,
    /// The sum over closed connections, as is `closed_slow`.
    frames_dropped: u64,
    closed_slow: u64,
}

/// The statistics of a service's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// The number of open connections.
    pub open: usize,
    /// The number of connections so far, open or closed.
    pub total: u64,
    /// The number of broadcast frames dropped for slow clients.
    pub frames_dropped: u64,
    /// The number of clients closed because they were slow.
    pub closed_slow: u64,
}

/// The entry of a connection, removed on drop.
pub(crate) struct Registration {
    connections: Connections,
    connection: Arc<Connection>,
    key: u64,
}

impl Connections {
    /// The number of connections, including those that are beginning or ending.
    pub fn len(&self) -> usize {
        self.open().connections.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the statistics.
    pub fn stats(&self) -> ConnectionStats {
        let open = self.open();
        let slow = open.connections.values().map(|connection| connection.slow());
        let sum = (open.frames_dropped, open.closed_slow);
        let (frames_dropped, closed_slow) =
            slow.fold(sum, |(frames, closed), slow| (frames + slow.dropped, closed + u64::from(slow.closed)));
        ConnectionStats { open: open.connections.len(), total: open.total, frames_dropped, closed_slow }
    }

    pub(crate) fn set_drained_hook(&self, hook: DrainedHook) {
        let _set_before = self.0.on_drained.set(hook);
    }

    /// Whether a drain has begun. No further connection is accepted then.
    pub fn is_closing(&self) -> bool {
        self.0.closing.load(Relaxed)
    }

    /// Refuses new clients from now on, and returns the present connections.
    fn begin_close(&self) -> Vec<Arc<Connection>> {
        // Under the lock, so that a connection is either seen here or sees the flag.
        let open = self.open();
        self.0.closing.store(true, Relaxed);
        open.connections.values().cloned().collect()
    }

    pub(crate) fn reports(&self) -> Arc<FailureReports> {
        self.0.reports.clone()
    }

    /// Registers a connection. `None` once a drain has begun.
    pub(crate) fn register(&self, connection: &Arc<Connection>) -> Option<Registration> {
        let mut open = self.open();
        if self.is_closing() {
            return None;
        }
        let key = if connection.profile().is_counted {
            open.total += 1;
            let key = open.total;
            open.connections.insert(key, connection.clone());
            key
        } else {
            open.last_uncounted += 1;
            let key = open.last_uncounted;
            open.uncounted.insert(key, connection.clone());
            key
        };
        Some(Registration { connections: self.clone(), connection: connection.clone(), key })
    }

    /// Runs a task of a connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    /// Returns the open connections that do not count.
    fn uncounted(&self) -> Vec<Arc<Connection>> {
        self.open().uncounted.values().cloned().collect()
    }

    /// Runs the task of a plain request.
    pub(crate) fn spawn_request(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.requests.spawn(task);
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        lock(&self.0.open)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let slow = self.connection.slow();
        let mut open = self.connections.open();
        if self.connection.profile().is_counted {
            open.connections.remove(&self.key);
        } else {
            open.uncounted.remove(&self.key);
        }
        open.frames_dropped += slow.dropped;
        open.closed_slow += u64::from(slow.closed);
        // Frees the memory of many connections that have closed together.
        if open.connections.capacity() > 64 && open.connections.len() * 4 < open.connections.capacity() {
            open.connections.shrink_to_fit();
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).field("closing", &self.is_closing()).finish()
    }
}
