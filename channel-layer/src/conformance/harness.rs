//! The part of the suite that each backend's tests provide.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};

use crate::{config::LayerConfig, layer::ChannelLayer};

/// Makes the layers that the cases run on, lets time pass and breaks the backend. Each test has a separate harness.
///
/// A backend that claims [`cross_process`](crate::Capabilities::cross_process) has to be tested with all of it:
/// [`peer`](Self::peer), [`sever`](Self::sever), [`freeze`](Self::freeze), [`mend`](Self::mend) and
/// [`residue`](Self::residue). Without one of them, the cases that need it fail.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Opens a layer with these settings, on a store that is empty and that no other test uses.
    ///
    /// A case calls it once.
    async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer>;

    /// Opens a second layer on the store of the first, as another process would. `None` if the backend has no second
    /// process.
    async fn peer(&self, config: LayerConfig) -> Option<Arc<dyn ChannelLayer>>;

    /// Lets time pass: by moving a paused clock, or by sleeping where a server keeps the time.
    async fn elapse(&self, time: Duration);

    /// Breaks the connections of all layers at once and refuses new ones. The server keeps its state.
    ///
    /// Returns whether the harness supports it.
    async fn sever(&self) -> bool {
        false
    }

    /// Makes the server silent: it keeps connections and takes new ones, and does not answer.
    ///
    /// Returns whether the harness supports it.
    async fn freeze(&self) -> bool {
        false
    }

    /// Loses every message from the server to the subscribers, while everything else continues.
    ///
    /// Returns whether the harness supports it. Cases about [`detects_loss`](crate::Capabilities::detects_loss) need
    /// it.
    async fn lose(&self) -> bool {
        false
    }

    /// Ends the fault of [`sever`](Self::sever), [`freeze`](Self::freeze) or [`lose`](Self::lose). The server has kept
    /// its state.
    ///
    /// Returns whether the harness supports it.
    async fn mend(&self) -> bool {
        false
    }

    /// Returns the state that the server holds for the layers of this harness, or `None` if the harness cannot count
    /// it.
    async fn residue(&self) -> Option<Residue> {
        None
    }

    /// The largest message that the layers take, in bytes of its content, to a kibibyte. `None` if there is no limit.
    fn size_limit(&self) -> Option<usize> {
        None
    }

    /// The times that the cases use.
    fn timing(&self) -> Timing {
        Timing::real()
    }

    /// The runtime of the test. The default has one thread and a real clock.
    fn runtime(&self) -> Runtime {
        Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
    }
}

/// The state that a server holds for the layers of one [`Harness`]. All zero once they are closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residue {
    /// Open connections of the layers.
    pub connections: usize,
    /// Topics that the layers are subscribed to.
    pub subscriptions: usize,
    /// Stored entries, apart from messages that wait on named channels.
    pub keys: usize,
}

/// The times that the cases use, for a machine that is busy with other work.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timing {
    /// The deadline of every call and every arrival: a case fails when it is over.
    pub arrival: Duration,
    /// The time after which no message is in flight, if none has arrived. Cases wait for it, so keep it short.
    pub silence: Duration,
    /// The message expiry of the cases about expiry: at least three times the store's resolution.
    pub expiry: Duration,
    /// The group expiry of the cases about memberships by name, likewise.
    pub group_expiry: Duration,
    /// The time after an expiry when the store has certainly dropped the entry.
    pub resolution: Duration,
    /// A case that takes longer than this fails.
    pub limit: Duration,
}

impl Timing {
    /// Times for a real clock and a server on the same machine: expiries of three seconds, a resolution of one.
    pub fn real() -> Self {
        Self {
            arrival: Duration::from_secs(10),
            silence: Duration::from_millis(150),
            expiry: Duration::from_secs(3),
            group_expiry: Duration::from_secs(3),
            resolution: Duration::from_millis(1100),
            limit: Duration::from_secs(120),
        }
    }

    /// Times for tokio's paused clock, where waiting takes no time.
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

    /// Sets [`resolution`](Self::resolution).
    pub fn with_resolution(mut self, resolution: Duration) -> Self {
        self.resolution = resolution;
        self
    }

    /// Sets [`silence`](Self::silence).
    pub fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}
