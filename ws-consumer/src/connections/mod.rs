//! [`Connections`]: the registry of a service's open connections, with their statistics, layer events and [`Drain`].

mod drain;

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use channel_layer::{ChannelLayer, LayerEvent, LayerState};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::drain::Drain;
pub(crate) use self::drain::PATIENCE;
use crate::{error::Reports, wire::Connection};

/// The open connections of a service. Clones share one registry.
#[derive(Clone, Default)]
pub struct Connections(Arc<SharedConnections>);

#[derive(Default)]
struct SharedConnections {
    /// Knows when the last task of a connection has ended, its `disconnect` hook included.
    tasks: TaskTracker,
    /// Knows when the last task of a plain request has ended.
    requests: TaskTracker,
    closing: AtomicBool,
    /// Set while the channel layer's events say that it has lost its backend. Relaxed: a hint.
    cut_off: AtomicBool,
    /// The layer's own view of its backend. Set once, before the first connection.
    backend: OnceLock<LayerState>,
    /// Limits how often failures of its connections are logged.
    reports: Arc<Reports>,
    /// What is to be done once all have gone. Set once, before the first connection.
    afterwards: OnceLock<Afterwards>,
    /// A drain has ended.
    ended: CancellationToken,
    /// The channel layer of the connections. Set once, before the first connection.
    layer: OnceLock<Arc<dyn ChannelLayer>>,
    /// A lock held for a look-up; written once as a connection comes and once as it goes.
    open: Mutex<OpenConnections>,
}

type Afterwards = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Default)]
struct OpenConnections {
    /// Also how many there were so far.
    next: u64,
    links: HashMap<u64, Arc<Connection>>,
    /// What carries sessions, which are among the `links` themselves.
    legs: HashMap<u64, Arc<Connection>>,
    next_leg: u64,
    /// Of those that have gone.
    frames_dropped: u64,
    closed_slow: u64,
}

/// What a service has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Connections that there are.
    pub open: usize,
    /// Connections that there were and are.
    pub total: u64,
    /// Broadcast frames that were dropped for slow clients.
    pub frames_dropped: u64,
    /// Clients that were closed for slowness.
    pub closed_slow: u64,
}

/// A connection's entry, for as long as it lives.
pub(crate) struct Registration {
    connections: Connections,
    link: Arc<Connection>,
    key: u64,
}

impl Connections {
    /// How many connections there are, those included that are about to begin or to end.
    pub fn len(&self) -> usize {
        self.open().links.len()
    }

    /// Is there no connection?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts.
    pub fn stats(&self) -> ConnectionStats {
        let open = self.open();
        let slow = open.links.values().map(|link| link.slow());
        let sum = (open.frames_dropped, open.closed_slow);
        let (frames_dropped, closed_slow) =
            slow.fold(sum, |(frames, closed), slow| (frames + slow.dropped, closed + u64::from(slow.closed)));
        ConnectionStats { open: open.links.len(), total: open.next, frames_dropped, closed_slow }
    }

    pub(crate) fn set_afterwards(&self, afterwards: Afterwards) {
        let _set_before = self.0.afterwards.set(afterwards);
    }

    pub(crate) fn set_layer(&self, layer: Arc<dyn ChannelLayer>) {
        let _set_before = self.0.layer.set(layer);
    }

    /// Is it closing, or closed? Then no further connection is let in.
    pub fn is_closing(&self) -> bool {
        self.0.closing.load(Relaxed)
    }

    /// Refuses new clients from now on, and returns the present connections.
    fn begin_close(&self) -> Vec<Arc<Connection>> {
        // Under the lock, so that a connection is either seen here or sees the flag.
        let open = self.open();
        self.0.closing.store(true, Relaxed);
        open.links.values().cloned().collect()
    }

    /// Returns whether the channel layer is known to have lost its backend. New clients would then get no
    /// messages from others.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.0.cut_off.load(Relaxed) || self.0.backend.get().is_some_and(LayerState::is_away)
    }

    pub(crate) fn set_backend(&self, state: LayerState) {
        let _set_before = self.0.backend.set(state);
    }

    pub(crate) fn reports(&self) -> Arc<Reports> {
        self.0.reports.clone()
    }

    /// Keeps what became of the layer's backend.
    pub(crate) fn note(&self, event: LayerEvent) {
        match event {
            LayerEvent::Disconnected => self.0.cut_off.store(true, Relaxed),
            LayerEvent::Reconnected { .. } => self.0.cut_off.store(false, Relaxed),
            _ => {}
        }
    }

    /// Tells all connections what became of the layer's backend.
    pub(crate) fn tell(&self, event: LayerEvent) {
        self.note(event);
        let links: Vec<_> = self.open().links.values().cloned().collect();
        links.iter().for_each(|link| link.push_layer_event(event));
    }

    /// Enters a connection; nothing if the service is closing.
    pub(crate) fn register(&self, link: &Arc<Connection>) -> Option<Registration> {
        let mut open = self.open();
        if self.is_closing() {
            return None;
        }
        let key = if link.profile().is_counted {
            open.next += 1;
            let key = open.next;
            open.links.insert(key, link.clone());
            key
        } else {
            open.next_leg += 1;
            let key = open.next_leg;
            open.legs.insert(key, link.clone());
            key
        };
        Some(Registration { connections: self.clone(), link: link.clone(), key })
    }

    /// Runs a task of a connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    /// Returns the connections that carry sessions at the moment.
    fn legs(&self) -> Vec<Arc<Connection>> {
        self.open().legs.values().cloned().collect()
    }

    /// Runs the task of a plain request.
    pub(crate) fn spawn_request(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.requests.spawn(task);
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let slow = self.link.slow();
        let mut open = self.connections.open();
        if self.link.profile().is_counted {
            open.links.remove(&self.key);
        } else {
            open.legs.remove(&self.key);
        }
        open.frames_dropped += slow.dropped;
        open.closed_slow += u64::from(slow.closed);
        // A crowd that left gives its memory back.
        if open.links.capacity() > 64 && open.links.len() * 4 < open.links.capacity() {
            open.links.shrink_to_fit();
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).field("closing", &self.is_closing()).finish()
    }
}
