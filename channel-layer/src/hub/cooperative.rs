//! Long work in slices, with turns for other tasks.

use tokio::task::yield_now;

/// Deliveries made in one slice: about 25 microseconds, short enough for other tasks on the thread.
pub(super) const SLICE: usize = 1024;

/// Deliveries between two turns of others: a tenth of a millisecond.
const PER_TURN: usize = 4096;

/// Runs `step` until it returns `None`, and gives other tasks a turn every few thousand deliveries. Each `step` serves a
/// slice and returns its number of deliveries.
pub(crate) async fn run_sliced(mut step: impl FnMut() -> Option<usize>) {
    let mut deliveries = 0;
    while let Some(made) = step() {
        deliveries += made + 1; // the look for a message is work as well
        if deliveries >= PER_TURN {
            deliveries = 0;
            yield_now().await;
        }
    }
}
