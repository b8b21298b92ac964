//! The time for which a login holds.

use std::sync::{Arc, Mutex};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::sync::lock;

/// The time at which a login ends. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Lease(Arc<LeaseState>);

#[derive(Default)]
struct LeaseState {
    /// Locked to read or to write a number.
    until: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Lease {
    pub(super) fn set(&self, until: Option<Instant>) {
        *lock(&self.0.until) = until;
        self.0.changed.notify_one();
    }

    fn until(&self) -> Option<Instant> {
        *lock(&self.0.until)
    }

    pub(super) async fn ended(&self) {
        loop {
            let until = self.until();
            let end = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = end => return,
                () = self.0.changed.notified() => {}
            }
        }
    }
}
