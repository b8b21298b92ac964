//! Messages of this process to itself, by a channel that Django does not know.

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

#[derive(Debug)]
pub(super) struct PendingProbes {
    channel: String,
    /// Numbers the probes. Relaxed: they have to differ, and nothing else.
    numbers: AtomicU64,
    /// Held for a map access, by callers and by the tasks of links.
    pending: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl PendingProbes {
    pub(super) fn new(prefix: &str, client: &str) -> Self {
        // `:` is in no name, so no channel or group of Django's is called this.
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

    /// Answers the caller of the probe that has come in, if it was one.
    pub(super) fn received(&self, payload: &[u8]) {
        let number = payload.try_into().map(u64::from_be_bytes).unwrap_or_default();
        if let Some(sender) = self.lock().remove(&number) {
            let _ = sender.send(()); // the caller may have gone
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<()>>> {
        lock(&self.pending)
    }
}
