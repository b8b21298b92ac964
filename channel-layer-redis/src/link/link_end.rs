//! The end of a link.

use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::error::Fault;

/// The reason why a link has ended; the first one counts.
#[derive(Debug, Default)]
pub(super) struct End {
    fault: OnceLock<Fault>,
    /// One task waits at a time.
    told: Notify,
}

impl End {
    /// Ends the link, unless it has ended already.
    pub(super) fn fail(&self, fault: Fault) {
        let _ = self.fault.set(fault); // a later reason
        self.told.notify_one();
    }

    /// Waits for the end. Cancel safe.
    pub(super) async fn wait(&self) -> Fault {
        loop {
            if let Some(fault) = self.fault.get() {
                return fault.clone();
            }
            self.told.notified().await;
        }
    }
}
