//! Locks without poisoning; and, for the test kit, a count of blocking calls.

#[cfg(feature = "testing")]
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also after a panic of a thread that held it: the state behind the locks of this crate is valid between any
/// two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(feature = "testing")]
thread_local! {
    /// The blocking calls of this thread's tasks that are under way. A runtime with a paused clock has one thread.
    static BLOCKING: Arc<AtomicUsize> = Arc::default();
}

/// The number of blocking calls that tasks of this thread wait for.
#[cfg(feature = "testing")]
pub(crate) fn blocking_calls() -> usize {
    BLOCKING.with(|calls| calls.load(Relaxed))
}

/// Counts a blocking call, from its beginning until its task has noticed the end.
#[cfg(feature = "testing")]
pub(crate) struct BlockingCall(Arc<AtomicUsize>);

#[cfg(feature = "testing")]
impl BlockingCall {
    pub(crate) fn begin() -> Self {
        let calls = BLOCKING.with(Arc::clone);
        calls.fetch_add(1, Relaxed);
        Self(calls)
    }
}

#[cfg(feature = "testing")]
impl Drop for BlockingCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
