//! A limit of one line of the log per second, however often its cause comes.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(1);

/// A count of what happens between two lines.
#[derive(Default)]
pub(crate) struct Seldom(Mutex<Since>);

#[derive(Default)]
struct Since {
    line: Option<Instant>,
    count: u64,
}

impl Seldom {
    /// Counts one more. Returns, if a line is due, how many there were since the last one.
    pub(crate) fn count(&self) -> Option<u64> {
        self.count_by(1)
    }

    /// Counts `more` events.
    pub(crate) fn count_by(&self, more: u64) -> Option<u64> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.count += more;
        let now = Instant::now();
        if since.line.is_some_and(|line| now < line + INTERVAL) {
            return None;
        }
        since.line = Some(now);
        Some(std::mem::take(&mut since.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_second() {
        let seldom = Seldom::default();
        assert_eq!(seldom.count(), Some(1));
        assert_eq!((seldom.count(), seldom.count_by(5)), (None, None));
        tokio::time::advance(INTERVAL).await;
        assert_eq!((seldom.count(), seldom.count()), (Some(7), None));
    }
}
