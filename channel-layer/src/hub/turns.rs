//! Long work, in pieces.

use tokio::task::yield_now;

/// Deliveries between two turns of others: a tenth of a millisecond.
const PER_TURN: usize = 4096;

/// Has `step` hand out slice after slice, until there is nothing, and gives other tasks a turn every few thousand
/// deliveries. Each `step` tells how many it has made.
pub async fn in_turns(mut step: impl FnMut() -> Option<usize>) {
    let mut deliveries = 0;
    while let Some(made) = step() {
        deliveries += made + 1; // to look for something is work as well
        if deliveries >= PER_TURN {
            deliveries = 0;
            yield_now().await;
        }
    }
}
