//! A backend that is far away.

use std::time::Duration;

use super::{Call, Wrap};
use crate::{error::Result, events::LayerEvents};

/// Every call waits before it is made, as with a backend across a network. For tests.
#[derive(Clone, Copy, Debug)]
pub struct Delayed {
    delay: Duration,
}

impl Delayed {
    /// So long.
    pub fn by(delay: Duration) -> Self {
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

    fn loses(&self, _: Call<'_>) -> bool {
        false
    }

    fn events(&self, events: LayerEvents) -> LayerEvents {
        events
    }
}
