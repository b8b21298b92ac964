//! Code that blocks.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use super::jobs::failure;
use crate::error::{Error, Result};

/// The default of the time that a call waits for a thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs code that blocks (a file, a synchronous database driver, heavy computing) on a thread for such code, and waits
/// for it: the counterpart of Django Channels' `database_sync_to_async`.
///
/// The code runs to its end even if the future is dropped: a connection that is gone cannot take a thread back. All calls
/// share the runtime's threads for blocking code, 512 by default (`max_blocking_threads`), with files and name look-ups of
/// the whole process; further calls wait for a thread without a bound. A [`BlockingPool`] is a part of them with a bound.
///
/// ```
/// # use ws_consumer::{Result, Socket, blocking};
/// # async fn hook(socket: &mut Socket) -> Result<()> {
/// let rows = blocking(|| std::fs::read_to_string("rows.json")).await??;
/// socket.send_text(rows).await
/// # }
/// ```
///
/// # Errors
/// [`Panic`](Error::Panic) if the code did.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    #[cfg(feature = "testing")]
    let _call = crate::sync::BlockingCall::begin();
    tokio::task::spawn_blocking(work).await.map_err(failure)
}

/// A bounded share of the runtime's threads for code that blocks: as many as a database has connections, for example.
///
/// A consumer whose hooks block (Django Channels' `SyncConsumer`) moves the body of the hook into [`run`](Self::run). The
/// hook's client waits meanwhile, and nobody else: hooks of other connections go on. Make one pool per resource, and give
/// clones to the consumers; all clones are one pool.
///
/// ```
/// use ws_consumer::{BlockingPool, Consumer, Frame, NoEvents, Result, Router, Socket};
///
/// /// A synchronous database driver.
/// fn look_up(key: &str) -> std::io::Result<String> {
///     std::fs::read_to_string(key)
/// }
///
/// struct Rows { database: BlockingPool }
///
/// impl Consumer for Rows {
///     type Event = NoEvents;
///
///     async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
///         let key: String = frame.json()?;
///         let row = self.database.run(move || look_up(&key)).await??;
///         socket.send_text(row).await
///     }
/// }
///
/// let database = BlockingPool::new(8);
/// let sockets = Router::new().consumer("/rows", move || Rows { database: database.clone() });
/// ```
///
/// | event | effect |
/// |---|---|
/// | all threads are busy | calls wait in the order of arrival, up to the [timeout](Self::with_timeout), then fail with [`PoolFullError`] |
/// | the hook is dropped while it waits | the code does not run |
/// | the hook is dropped while the code runs | the code runs to its end, and counts until then; its result is dropped |
/// | the code panics | [`Panic`](Error::Panic), and the thread is free again |
/// | the server stops | a drain waits for hooks that are running; the runtime waits, when it is dropped, for code that has begun |
#[derive(Clone, Debug)]
pub struct BlockingPool {
    free: Arc<Semaphore>,
    timeout: Duration,
}

impl BlockingPool {
    /// Creates a pool of `threads` threads, at least one. It is not checked that the runtime has as many.
    pub fn new(threads: usize) -> Self {
        let free = Arc::new(Semaphore::new(threads.clamp(1, Semaphore::MAX_PERMITS)));
        Self { free, timeout: PATIENCE }
    }

    /// Sets the time that a call waits for a thread. 10 s by default. Of this clone, and those made of it.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The number of threads that are free at present.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Runs code that blocks on a thread of the pool, and waits for it, like [`blocking`].
    ///
    /// # Errors
    /// [`PoolFullError`] in an [`Overloaded`](Error::Overloaded); [`Panic`](Error::Panic) if the code did.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let Ok(thread) = timeout(self.timeout, self.free.clone().acquire_owned()).await else {
            return Err(Error::overloaded(PoolFullError { timeout: self.timeout }));
        };
        blocking(move || {
            // With the code, not with the future: the thread is busy for as long as the code runs.
            let _thread = thread;
            work()
        })
        .await
    }
}

/// A call of a [`BlockingPool`] has found no free thread in time. The code has not run.
///
/// Hooks get it as the cause of an [`Overloaded`](Error::Overloaded): by default, a client that has not been accepted is refused with
/// 503, and any other connection is closed with 1013, after which clients reconnect later. A consumer that keeps the connection handles
/// it in its [`error`](crate::Consumer::error) hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolFullError {
    timeout: Duration,
}

impl fmt::Display for PoolFullError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no thread for blocking code was free within {:?}", self.timeout)
    }
}

impl StdError for PoolFullError {}
