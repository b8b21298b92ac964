//! The number of sessions over each transport.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ws_consumer::Transport;

/// Counters, shared by clones.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// A counted session, until it is dropped.
pub(crate) struct Seat {
    counts: Counts,
    transport: Transport,
}

impl Counts {
    pub(crate) fn enter(&self, transport: Transport) -> Seat {
        *self.lock().entry(transport.name()).or_default() += 1;
        Seat { counts: self.clone(), transport }
    }

    /// The numbers by transport, including transports that had sessions before.
    pub(crate) fn now(&self) -> BTreeMap<&'static str, usize> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(count) = self.counts.lock().get_mut(self.transport.name()) {
            *count = count.saturating_sub(1);
        }
    }
}
