//! The end of a link.

use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::error::CallError;

/// The end of a link and its first error.
#[derive(Debug, Default)]
pub(super) struct LinkEnd {
    error: OnceLock<CallError>,
    /// Only one task waits at a time.
    ended: Notify,
}

impl LinkEnd {
    /// Ends the link, unless it has ended already.
    pub(super) fn fail(&self, error: CallError) {
        let _ = self.error.set(error); // a later reason
        self.ended.notify_one();
    }

    /// Waits for the end. Cancel safe.
    pub(super) async fn wait(&self) -> CallError {
        loop {
            if let Some(error) = self.error.get() {
                return error.clone();
            }
            self.ended.notified().await;
        }
    }
}
