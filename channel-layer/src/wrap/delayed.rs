//! A layer whose calls take time.

use std::time::Duration;

use super::{Call, Wrap};
use crate::error::Result;

/// Delays every call, as a backend across a network does. For tests.
#[derive(Clone, Copy, Debug)]
pub struct Delayed {
    delay: Duration,
}

impl Delayed {
    /// Creates a wrap with this delay.
    pub fn new(delay: Duration) -> Self {
        Self { delay }
    }
}

impl Wrap for Delayed {
    async fn around<T: Send>(
        &self,
        _: Call<'_>,
        forward: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        tokio::time::sleep(self.delay).await;
        forward.await
    }
}
