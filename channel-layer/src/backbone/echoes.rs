//! The calls of this process that wait for their messages to come back.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use crate::{
    layer::Deliveries,
    sync::{Mutex, MutexGuard, lock},
};

/// Calls in progress by the number of their envelope. Each keeps a `K` and gets a `T`.
#[derive(Debug)]
pub(super) struct PendingByNumber<K, T> {
    /// Held for a map access, by callers and by the tasks of links.
    waiting: Mutex<HashMap<u64, (K, oneshot::Sender<T>)>>,
}

/// A call in progress. Dropping it removes its entry.
#[derive(Debug)]
pub(super) struct PendingCall<'a, K, T> {
    all: &'a PendingByNumber<K, T>,
    number: u64,
    back: oneshot::Receiver<T>,
}

impl<K, T> PendingByNumber<K, T> {
    /// Registers a call that waits for this number to come back.
    pub(super) fn add(&self, number: u64, kept: K) -> PendingCall<'_, K, T> {
        let (sender, back) = oneshot::channel();
        self.waiting().insert(number, (kept, sender));
        PendingCall { all: self, number, back }
    }

    /// Variant of [`add`](Self::add) for callers that cannot keep a guard. The next such call removes the entries of
    /// dropped receivers.
    pub(super) fn add_detached(&self, number: u64, kept: K) -> oneshot::Receiver<T> {
        let (sender, back) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.retain(|_, (_, sender)| !sender.is_closed());
        waiting.insert(number, (kept, sender));
        back
    }

    /// Takes the call whose message has come back.
    pub(super) fn take(&self, number: u64) -> Option<(K, oneshot::Sender<T>)> {
        self.waiting().remove(&number)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, (K, oneshot::Sender<T>)>> {
        lock(&self.waiting)
    }
}

impl<K, T> Default for PendingByNumber<K, T> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}

impl<K, T> PendingCall<'_, K, T> {
    /// Waits for the message, up to a limit.
    pub(super) async fn wait(mut self, limit: Duration) -> Option<T> {
        if let Ok(back) = self.back.try_recv() {
            return Some(back); // the usual case: the echo overtakes the answer to the publish, and no timer is needed
        }
        timeout(limit, &mut self.back).await.ok()?.ok()
    }
}

impl<K, T> Drop for PendingCall<'_, K, T> {
    fn drop(&mut self) {
        self.all.waiting().remove(&self.number);
    }
}

/// Group messages in progress in formats without numbers, recognised by their topic and bytes. An identical message of
/// another process may be taken for one of this process, which makes no difference.
///
/// Each keeps a `K`, such as the message, so that it is not decoded again.
#[derive(Debug)]
pub struct PendingEchoes<K> {
    /// Held for a map access, by callers and by the tasks of links.
    waiting: Mutex<HashMap<Vec<u8>, VecDeque<WaitingCall<K>>>>,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct WaitingCall<K> {
    number: u64,
    kept: K,
    back: oneshot::Sender<Deliveries>,
}

/// A message in progress. Dropping it removes its entry.
#[derive(Debug)]
pub struct PendingEcho<'a, K> {
    all: &'a PendingEchoes<K>,
    key: Vec<u8>,
    number: u64,
    back: oneshot::Receiver<Deliveries>,
}

impl<K> PendingEchoes<K> {
    /// Registers a call that waits for this message to come back.
    pub fn add(&self, topic: &str, payload: &[u8], kept: K) -> PendingEcho<'_, K> {
        let (sender, back) = oneshot::channel();
        let (key, number) = (key(topic.as_bytes(), payload), self.numbers.fetch_add(1, Relaxed));
        let waiting = WaitingCall { number, kept, back: sender };
        self.waiting().entry(key.clone()).or_default().push_back(waiting);
        PendingEcho { all: self, key, number, back }
    }

    /// Takes the message that has come back, and its caller.
    pub fn take(&self, topic: &[u8], payload: &[u8]) -> Option<(K, oneshot::Sender<Deliveries>)> {
        let mut all = self.waiting();
        if all.is_empty() {
            return None; // without reading the bytes
        }
        let key = key(topic, payload);
        let equal = all.get_mut(&key)?;
        let first = equal.pop_front();
        if equal.is_empty() {
            all.remove(&key);
        }
        first.map(|waiting| (waiting.kept, waiting.back))
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Vec<u8>, VecDeque<WaitingCall<K>>>> {
        lock(&self.waiting)
    }
}

impl<K> Default for PendingEchoes<K> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), numbers: AtomicU64::default() }
    }
}

impl<K> PendingEcho<'_, K> {
    /// Waits for the outcome in this process, up to a limit.
    pub async fn wait(mut self, limit: Duration) -> Option<Deliveries> {
        if let Ok(back) = self.back.try_recv() {
            return Some(back); // the usual case: the echo overtakes the answer to the publish, and no timer is needed
        }
        timeout(limit, &mut self.back).await.ok()?.ok()
    }
}

impl<K> Drop for PendingEcho<'_, K> {
    fn drop(&mut self) {
        let mut all = self.all.waiting();
        if let Some(equal) = all.get_mut(&self.key) {
            equal.retain(|waiting| waiting.number != self.number);
            if equal.is_empty() {
                all.remove(&self.key);
            }
        }
    }
}

fn key(topic: &[u8], payload: &[u8]) -> Vec<u8> {
    [topic, b"\0", payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn equal_messages_match_in_order() {
        let echoes = PendingEchoes::default();
        let (one, two) = (echoes.add("c", b"x", 1), echoes.add("c", b"x", 2));
        assert!(echoes.take(b"d", b"x").is_none());
        for _ in 0..2 {
            echoes.take(b"c", b"x").unwrap().1.send(Deliveries::default()).unwrap();
        }
        assert!(echoes.take(b"c", b"x").is_none());
        assert!(one.wait(Duration::ZERO).await.is_some() && two.wait(Duration::ZERO).await.is_some());
        drop(echoes.add("c", b"x", 3));
        assert!(echoes.waiting().is_empty(), "a dropped call leaves no entry");
    }

    #[tokio::test]
    async fn dropped_calls_are_forgotten() {
        let pending = PendingByNumber::<(), ()>::default();
        drop(pending.add(1, ()));
        drop(pending.add_detached(2, ()));
        let back = pending.add_detached(3, ());
        assert!(pending.take(1).is_none() && pending.take(2).is_none());
        pending.take(3).unwrap().1.send(()).unwrap();
        assert!(back.await.is_ok());
    }
}
