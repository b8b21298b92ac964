//! Group messages of our own on their way back to us, in Django's formats: they need not be decoded, and tell what
//! became of them here.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::Deliveries;
use tokio::{sync::oneshot, time::timeout};

/// By the place where they come in and their bytes, since Django's format gives them no number. Another process's message that is
/// equal to the byte may be taken for ours, which makes no difference.
#[derive(Debug)]
pub(crate) struct Own<K> {
    /// Held for a map access, by callers and by the connections' tasks.
    waiting: Mutex<HashMap<Vec<u8>, VecDeque<Waiting<K>>>>,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct Waiting<K> {
    number: u64,
    kept: K,
    back: oneshot::Sender<Deliveries>,
}

/// The place of one message; leaves the table when dropped.
pub(crate) struct Ticket<'a, K> {
    own: &'a Own<K>,
    key: Vec<u8>,
    number: u64,
    back: oneshot::Receiver<Deliveries>,
}

impl<K> Own<K> {
    /// Waits from now on for this message to come back.
    pub(crate) fn expect(&self, place: &str, payload: &[u8], kept: K) -> Ticket<'_, K> {
        let (sender, back) = oneshot::channel();
        let (key, number) = (key(place.as_bytes(), payload), self.numbers.fetch_add(1, Relaxed));
        let waiting = Waiting { number, kept, back: sender };
        self.lock().entry(key.clone()).or_default().push_back(waiting);
        Ticket { own: self, key, number, back }
    }

    /// It came back.
    pub(crate) fn take(&self, place: &[u8], payload: &[u8]) -> Option<(K, oneshot::Sender<Deliveries>)> {
        let mut all = self.lock();
        if all.is_empty() {
            return None; // without looking at the bytes
        }
        let key = key(place, payload);
        let line = all.get_mut(&key)?;
        let first = line.pop_front();
        if line.is_empty() {
            all.remove(&key);
        }
        first.map(|waiting| (waiting.kept, waiting.back))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, VecDeque<Waiting<K>>>> {
        // Nothing in here is left half done by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for Own<K> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), numbers: AtomicU64::default() }
    }
}

impl<K> Ticket<'_, K> {
    /// What became of it here, or nothing within the time.
    pub(crate) async fn wait(mut self, limit: Duration) -> Option<Deliveries> {
        if let Ok(back) = self.back.try_recv() {
            return Some(back); // mostly: it overtakes the reply to the command, and no timer is needed
        }
        timeout(limit, &mut self.back).await.ok()?.ok()
    }
}

impl<K> Drop for Ticket<'_, K> {
    fn drop(&mut self) {
        let mut all = self.own.lock();
        if let Some(line) = all.get_mut(&self.key) {
            line.retain(|waiting| waiting.number != self.number);
            if line.is_empty() {
                all.remove(&self.key);
            }
        }
    }
}

fn key(place: &[u8], payload: &[u8]) -> Vec<u8> {
    [place, b"\0", payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn equal_messages_come_back_each_to_its_own() {
        let own = Own::default();
        let (one, two) = (own.expect("c", b"x", 1), own.expect("c", b"x", 2));
        assert!(own.take(b"d", b"x").is_none());
        for _ in 0..2 {
            own.take(b"c", b"x").unwrap().1.send(Deliveries::default()).unwrap();
        }
        assert!(own.take(b"c", b"x").is_none());
        assert!(one.wait(Duration::ZERO).await.is_some() && two.wait(Duration::ZERO).await.is_some());
        drop(own.expect("c", b"x", 3));
        assert!(own.lock().is_empty(), "who does not wait leaves nothing behind");
    }
}
