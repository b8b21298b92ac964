//! The rate limit of warnings about failures that can occur with every message: one warning a second.

use std::time::Duration;

use tokio::time::Instant;

use crate::sync::{Mutex, lock};

/// The least time between two warnings of one kind.
const PAUSE: Duration = Duration::from_secs(1);

/// Permits one warning a second, and counts the others.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<PaceState>);

#[derive(Debug, Default)]
struct PaceState {
    last: Option<Instant>,
    held: u64,
}

impl Pace {
    /// Counts an event. Returns the number of events since the last warning, this one included, if a warning
    /// is due.
    pub(super) fn pass(&self) -> Option<u64> {
        let mut state = lock(&self.0);
        state.held += 1;
        let now = Instant::now();
        if state.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn warns_once_a_second() {
        let pace = Pace::default();
        assert_eq!([(); 3].map(|()| pace.pass()), [Some(1), None, None]);
        tokio::time::advance(PAUSE).await;
        assert_eq!([(); 2].map(|()| pace.pass()), [Some(3), None]);
    }
}
