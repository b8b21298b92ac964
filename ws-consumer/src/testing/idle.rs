//! Waiting until no task can run, without the clock.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task};

use crate::sync::blocking_calls;

/// The real time after which tasks that never wait are given up on.
const LIMIT: Duration = Duration::from_secs(5);

/// Returns whether the clock is paused. The runtime then has one thread.
pub(super) fn is_paused() -> bool {
    let before = tokio::time::Instant::now();
    let real = Instant::now();
    while Instant::now() == real {}
    tokio::time::Instant::now() == before
}

/// Lets tasks run until all of them wait, with the clock paused and not moved. Returns false if they do not come to rest.
///
/// While blocking code runs, tokio does not advance a paused clock: a runtime without work really parks its thread. The blocking code
/// here does nothing but look at that.
pub(super) async fn settle() -> bool {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        task::yield_now().await; // the runtime looks at its timers
        let metrics = Handle::current().metrics();
        let parked = task::spawn_blocking(move || {
            // Odd while the thread is parked.
            while metrics.worker_park_unpark_count(0).is_multiple_of(2) {
                if start.elapsed() > LIMIT {
                    return false;
                }
                thread::yield_now();
            }
            true
        });
        if !matches!(parked.await, Ok(true)) {
            return false;
        }
        if blocking_calls() == 0 {
            return true;
        }
    }
    false
}
