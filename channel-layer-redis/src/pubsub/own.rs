//! Group messages of our own on their way back to us: they need not be decoded, and tell what became of them here.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use channel_layer::{Deliveries, Message};
use tokio::{sync::oneshot, time::timeout};

/// By their Redis channel and bytes, since Django's format gives them no number. Another process's message that is
/// equal to the byte may be taken for ours, which makes no difference.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Held for a map access, by callers and by the connections' tasks.
    waiting: Mutex<HashMap<Vec<u8>, VecDeque<Waiting>>>,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    message: Message,
    back: oneshot::Sender<Deliveries>,
}

/// The place of one message; leaves the table when dropped.
pub(super) struct Ticket<'a> {
    own: &'a Own,
    key: Vec<u8>,
    number: u64,
    back: oneshot::Receiver<Deliveries>,
}

impl Own {
    /// Waits from now on for this message to come back.
    pub(super) fn expect(&self, channel: &str, payload: &[u8], message: Message) -> Ticket<'_> {
        let (sender, back) = oneshot::channel();
        let (key, number) = (key(channel.as_bytes(), payload), self.numbers.fetch_add(1, Relaxed));
        let waiting = Waiting { number, message, back: sender };
        self.lock().entry(key.clone()).or_default().push_back(waiting);
        Ticket { own: self, key, number, back }
    }

    /// It came back.
    pub(super) fn take(
        &self,
        channel: &[u8],
        payload: &[u8],
    ) -> Option<(Message, oneshot::Sender<Deliveries>)> {
        let mut all = self.lock();
        if all.is_empty() {
            return None; // without looking at the bytes
        }
        let key = key(channel, payload);
        let line = all.get_mut(&key)?;
        let first = line.pop_front();
        if line.is_empty() {
            all.remove(&key);
        }
        first.map(|waiting| (waiting.message, waiting.back))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, VecDeque<Waiting>>> {
        // Nothing in here is left half done by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// What became of it here, or nothing within the time.
    pub(super) async fn wait(mut self, limit: Duration) -> Option<Deliveries> {
        if let Ok(back) = self.back.try_recv() {
            return Some(back); // mostly: it overtakes the reply to the command, and no timer is needed
        }
        timeout(limit, &mut self.back).await.ok()?.ok()
    }
}

impl Drop for Ticket<'_> {
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

fn key(channel: &[u8], payload: &[u8]) -> Vec<u8> {
    [channel, b"\0", payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn equal_messages_come_back_each_to_its_own() {
        let own = Own::default();
        let message = Message::new("a");
        let (one, two) = (own.expect("c", b"x", message.clone()), own.expect("c", b"x", message.clone()));
        assert!(own.take(b"d", b"x").is_none());
        for _ in 0..2 {
            own.take(b"c", b"x").unwrap().1.send(Deliveries::default()).unwrap();
        }
        assert!(own.take(b"c", b"x").is_none());
        assert!(one.wait(Duration::ZERO).await.is_some() && two.wait(Duration::ZERO).await.is_some());
        drop(own.expect("c", b"x", message));
        assert!(own.lock().is_empty(), "who does not wait leaves nothing behind");
    }
}
