//! What a backend brings along to be tested.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};

use crate::{config::LayerConfig, layer::ChannelLayer};

/// Makes the layers that the cases are run on, and lets time pass. Each test has a harness of its own.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A layer with these settings, on a store that is empty and that no other test uses.
    ///
    /// A case asks once.
    async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer>;

    /// A second layer on the store of the first, as another process would open one; nothing if that cannot be.
    async fn peer(&self, config: LayerConfig) -> Option<Arc<dyn ChannelLayer>>;

    /// Lets time pass: by moving a paused clock, or by sleeping where a server keeps the time.
    async fn elapse(&self, time: Duration);

    /// Takes the backend away from all layers, as a fault of the network would, without a loss of what it holds; false if
    /// there is none to lose, or the test cannot.
    async fn begin_outage(&self) -> bool {
        false
    }

    /// Brings the backend back.
    async fn end_outage(&self) {}

    /// How long things take.
    fn timing(&self) -> Timing {
        Timing::real()
    }

    /// Where the test runs. The default has one thread and a real clock.
    fn runtime(&self) -> Runtime {
        Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
    }
}

/// How long things take, on this backend, on a machine that has other things to do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timing {
    /// A message that has not arrived after this time never will: the case fails.
    pub arrival: Duration,
    /// When nothing has arrived for this time, nothing is under way. Cases wait for it, so keep it short.
    pub silence: Duration,
    /// The message expiry that the cases about expiry ask for: three times the store's resolution, or more.
    pub expiry: Duration,
    /// The group expiry that the cases about it ask for, likewise.
    pub group_expiry: Duration,
    /// A case that takes longer than this fails.
    pub limit: Duration,
}

impl Timing {
    /// For real time and a server on the same machine: expiries of three seconds.
    pub fn real() -> Self {
        Self {
            arrival: Duration::from_secs(10),
            silence: Duration::from_millis(150),
            expiry: Duration::from_secs(3),
            group_expiry: Duration::from_secs(3),
            limit: Duration::from_secs(120),
        }
    }

    /// For tokio's paused clock, where waiting takes no time.
    pub fn paused() -> Self {
        Self {
            expiry: Duration::from_secs(60),
            group_expiry: Duration::from_secs(86_400),
            limit: Duration::from_secs(365 * 86_400),
            ..Self::real()
        }
    }

    /// Sets [`expiry`](Self::expiry) and [`group_expiry`](Self::group_expiry).
    pub fn with_expiries(mut self, message: Duration, group: Duration) -> Self {
        self.expiry = message;
        self.group_expiry = group;
        self
    }

    /// Sets [`silence`](Self::silence).
    pub fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}
