//! All connections of a service: how many there are, and how they end together.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::LayerEvent;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::{
    frame::Close,
    wire::{Link, Role},
};

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
    /// Also how many there were so far.
    next: u64,
    links: HashMap<u64, Arc<Link>>,
    /// What carries sessions, which are among the `links` themselves.
    legs: HashMap<u64, Arc<Link>>,
    next_leg: u64,
    /// Of those that have gone.
    frames_dropped: u64,
    closed_slow: u64,
}

/// What a service has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Connections that there are.
    pub open: usize,
    /// Connections that there were and are.
    pub total: u64,
    /// Broadcast frames that were dropped for slow clients.
    pub frames_dropped: u64,
    /// Clients that were closed for slowness.
    pub closed_slow: u64,
}

/// How all connections are ended: what the clients are told, and over how long.
///
/// ```
/// use std::time::Duration;
/// use ws_consumer::Drain;
///
/// // A deploy: over ten seconds, each client is told to come back in its own time.
/// let drain = Drain::restart().over(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct Drain {
    close: Close,
    over: Duration,
    retry: bool,
}

/// Connections are closed in batches, one per step: fine enough to be even, coarse enough to cost nothing.
const STEP: Duration = Duration::from_millis(50);

/// How long consumers may take to handle what had come before the drain.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

impl Drain {
    /// The server goes away: 1001, all at once.
    pub fn going_away() -> Self {
        Close::from(Close::GOING_AWAY).into()
    }

    /// The server restarts: 1012, with a hint when to come back: the reason is `retry-after=` and seconds, another for
    /// each client, within the time that the drain takes.
    pub fn restart() -> Self {
        Self { retry: true, ..Close::from(Close::SERVICE_RESTART).into() }
    }

    /// Spreads the closes over this time, so that the clients do not all come back at once.
    pub fn over(mut self, time: Duration) -> Self {
        self.over = time;
        self
    }

    /// Over how long the closes are spread.
    pub(crate) fn time(&self) -> Duration {
        self.over
    }

    fn close(&self) -> Close {
        if !self.retry {
            return self.close.clone();
        }
        let seconds = self.over.max(Duration::from_secs(1)).mul_f64(fastrand::f64()).as_secs_f64();
        Close::new(self.close.code, format!("retry-after={seconds:.1}"))
    }
}

impl<C: Into<Close>> From<C> for Drain {
    fn from(close: C) -> Self {
        Self { close: close.into(), over: Duration::ZERO, retry: false }
    }
}

/// A connection's entry, for as long as it lives.
pub(crate) struct Registration {
    sockets: Sockets,
    link: Arc<Link>,
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

    /// Counts.
    pub fn stats(&self) -> SocketStats {
        let open = self.open();
        let slow = open.links.values().map(|link| link.slow());
        let sum = (open.frames_dropped, open.closed_slow);
        let (frames_dropped, closed_slow) =
            slow.fold(sum, |(frames, closed), slow| (frames + slow.dropped, closed + u64::from(slow.closed)));
        SocketStats { open: open.links.len(), total: open.next, frames_dropped, closed_slow }
    }

    /// Ends all connections with close code 1001 and lets no further one in. Returns once every `disconnect` hook
    /// has run, and the shutdown hooks after them.
    ///
    /// Each connection ends within its close timeout and the grace of its hooks. Cancel safe: the connections go on
    /// ending.
    pub async fn close(&self) {
        self.drain(Drain::going_away()).await;
    }

    /// As [`close`](Self::close), with what the clients are told and over how long. What was sent before is sent.
    ///
    /// Dropped before all have been told, the others stay; nobody new is let in all the same.
    pub async fn drain(&self, drain: impl Into<Drain>) {
        let drain = drain.into();
        let links = self.begin_close();
        let steps = (drain.over.as_millis() / STEP.as_millis()).max(1) as usize;
        for batch in links.chunks(links.len().div_ceil(steps).max(1)) {
            batch.iter().for_each(|link| link.see_out(drain.close()));
            tracing::debug!(left = self.len(), "draining");
            if steps > 1 {
                sleep(STEP).await;
            }
        }
        self.0.tasks.close();
        self.end_late(&links, &drain).await;
        drop(links);
        self.0.tasks.wait().await;
        if let Some(afterwards) = self.0.afterwards.get() {
            afterwards().await;
        }
    }

    /// Those whose hooks are busy wait no longer. What carries a session ends with it, after its last frame; what carries
    /// one of another process is told now.
    async fn end_late(&self, links: &[Arc<Link>], drain: &Drain) {
        if timeout(PATIENCE, self.0.tasks.wait()).await.is_err() {
            links.iter().for_each(|link| link.shut_down(drain.close()));
        }
        // Some carry beside the tasks.
        let legs: Vec<_> = self.open().legs.values().cloned().collect();
        legs.iter().for_each(|link| link.shut_down(drain.close()));
    }

    pub(crate) fn set_afterwards(&self, afterwards: Afterwards) {
        let _set_before = self.0.afterwards.set(afterwards);
    }

    /// Is it closing, or closed? Then no further connection is let in.
    pub fn is_closing(&self) -> bool {
        self.0.closing.load(Relaxed)
    }

    fn begin_close(&self) -> Vec<Arc<Link>> {
        // Under the lock, so that a connection is either seen here or sees the flag.
        let open = self.open();
        self.0.closing.store(true, Relaxed);
        open.links.values().cloned().collect()
    }

    /// Tells all connections what became of the layer's backend.
    pub(crate) fn tell(&self, event: LayerEvent) {
        let links: Vec<_> = self.open().links.values().cloned().collect();
        links.iter().for_each(|link| link.push_layer_event(event));
    }

    /// Enters a connection; nothing if the service is closing.
    pub(crate) fn register(&self, link: &Arc<Link>) -> Option<Registration> {
        let mut open = self.open();
        if self.is_closing() {
            return None;
        }
        let key = if link.role() == Role::Leg {
            open.next_leg += 1;
            let key = open.next_leg;
            open.legs.insert(key, link.clone());
            key
        } else {
            open.next += 1;
            let key = open.next;
            open.links.insert(key, link.clone());
            key
        };
        Some(Registration { sockets: self.clone(), link: link.clone(), key })
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
        let slow = self.link.slow();
        let mut open = self.sockets.open();
        if self.link.role() == Role::Leg {
            open.legs.remove(&self.key);
        } else {
            open.links.remove(&self.key);
        }
        open.frames_dropped += slow.dropped;
        open.closed_slow += u64::from(slow.closed);
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
