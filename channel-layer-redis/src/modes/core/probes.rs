//! Probes: messages of this process to itself, on a channel that Django does not use.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use channel_layer::backbone::Probe;
use tokio::sync::oneshot;

use crate::sync::lock;

/// The probes that have not come back.
#[derive(Debug)]
pub(super) struct PendingProbes {
    channel: String,
    /// The number of the next probe. Relaxed: the numbers only have to differ.
    numbers: AtomicU64,
    /// Locked for single accesses, by callers and by the tasks of links.
    pending: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl PendingProbes {
    pub(super) fn new(prefix: &str, client: &str) -> Self {
        // Names contain no `:`, so this is no channel or group of Django.
        let channel = format!("{prefix}:probe:{client}");
        Self { channel, numbers: AtomicU64::new(1), pending: Mutex::default() }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn probe(&self) -> Probe {
        let number = self.numbers.fetch_add(1, Relaxed);
        let (sender, back) = oneshot::channel();
        let mut pending = self.lock();
        pending.retain(|_, sender| !sender.is_closed());
        pending.insert(number, sender);
        Probe { topic: self.channel.clone(), payload: number.to_be_bytes().to_vec(), back }
    }

    /// Completes the probe with this payload, if there is one.
    pub(super) fn received(&self, payload: &[u8]) {
        let number = payload.try_into().map(u64::from_be_bytes).unwrap_or_default();
        if let Some(sender) = self.lock().remove(&number) {
            let _ = sender.send(()); // the caller may have been dropped
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<()>>> {
        lock(&self.pending)
    }
}
