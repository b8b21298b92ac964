//! A layer that loses messages.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Call, Wrap};
use crate::error::Result;

/// Drops every n-th message: the resilience test that Django Channels' specification suggests. For tests.
#[derive(Debug)]
pub struct Lossy {
    every: u64,
    /// The number of messages so far. A count alone, so relaxed.
    count: AtomicU64,
}

impl Lossy {
    /// Drops the n-th, the 2n-th, ... message, to channels and groups together; zero drops none.
    pub fn every(n: u64) -> Self {
        Self { every: n, count: AtomicU64::new(0) }
    }
}

impl Wrap for Lossy {
    async fn around<T: Send>(
        &self,
        _: Call<'_>,
        forward: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        forward.await
    }

    fn drops(&self, _: Call<'_>) -> bool {
        let nth = self.count.fetch_add(1, Relaxed) + 1;
        nth.is_multiple_of(self.every)
    }
}
