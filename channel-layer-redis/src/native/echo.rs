//! What this process has sent and waits to see come back.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use channel_layer::Message;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// Things under way, by the number of their envelope: each knows what came back for it, a `T`.
#[derive(Debug)]
pub(super) struct Table<K, T> {
    /// Held for a map access at a time, by callers and by the connection's task.
    waiting: Mutex<HashMap<u64, (K, oneshot::Sender<T>)>>,
}

/// A group message of our own: its bytes need not be decoded when it comes back.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) message: Message,
    pub(super) expires: Instant,
}

/// The place of one thing under way; leaves the table when dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a, K, T> {
    table: &'a Table<K, T>,
    number: u64,
    back: oneshot::Receiver<T>,
}

impl<K, T> Table<K, T> {
    /// Waits from now on for this number to come back.
    pub(super) fn expect(&self, number: u64, kept: K) -> Ticket<'_, K, T> {
        let (sender, back) = oneshot::channel();
        self.waiting().insert(number, (kept, sender));
        Ticket { table: self, number, back }
    }

    /// The same for who cannot keep a ticket; leaves the table at the next such call after it was dropped.
    pub(super) fn expect_detached(&self, number: u64, kept: K) -> oneshot::Receiver<T> {
        let (sender, back) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.retain(|_, (_, sender)| !sender.is_closed());
        waiting.insert(number, (kept, sender));
        back
    }

    /// It came back: what was kept for it, and whom to tell.
    pub(super) fn take(&self, number: u64) -> Option<(K, oneshot::Sender<T>)> {
        self.waiting().remove(&number)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, (K, oneshot::Sender<T>)>> {
        // Nothing in here is left half done by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}

impl<K, T> Ticket<'_, K, T> {
    /// What came back, or nothing within the time.
    pub(super) async fn wait(mut self, limit: Duration) -> Option<T> {
        if let Ok(back) = self.back.try_recv() {
            return Some(back); // mostly: it overtakes the reply to the command, and no timer is needed
        }
        timeout(limit, &mut self.back).await.ok()?.ok()
    }
}

impl<K, T> Drop for Ticket<'_, K, T> {
    fn drop(&mut self) {
        self.table.waiting().remove(&self.number);
    }
}
