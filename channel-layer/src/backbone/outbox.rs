//! The queue of messages to publish. Callers write into a shared batch. The publisher takes a complete batch, and
//! answers all of its callers at once.
//!
//! A message needs no separate allocation here, and its caller is woken once. With a channel for each reply, and its
//! bytes freed on another thread, the allocator's locks were a quarter of the cost of a publish.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, TryAcquireError},
    time::timeout,
};

use super::{
    answers::{PendingAnswer, Promise},
    error::LinkError,
    link::Batch,
};

use crate::sync::{Mutex, MutexGuard, lock};

/// Messages in one batch: enough to make the cost of a round trip negligible, few enough that the server works on one
/// batch while the next is filled.
pub(super) const BATCH: usize = 256;

/// The capacity of the queue. A caller waits while it is full. It is emptied at once while there is no link.
const QUEUE: usize = 4096;

/// The most memory that is reserved for a batch before its first message.
const READY: usize = 64 << 10;

/// The size in bytes at which a batch takes no more messages. A batch has one deadline, however slow the connection is.
const BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Outbox {
    /// A permit for each free slot of the queue. Fair: a waiting caller goes before later ones.
    slots: Semaphore,
    /// Held while a message is copied or a batch taken out.
    batches: Mutex<Batches>,
    /// Notified when a batch can be sent. Only the publisher waits.
    filled: Notify,
    /// The number of messages in one batch.
    most: usize,
    /// The longest time that a message waits for a free slot.
    max_wait: Duration,
}

#[derive(Debug, Default)]
struct Batches {
    /// Callers write into the last one.
    queue: VecDeque<Outgoing>,
    /// The number of messages and bytes of the last batch.
    usual: (usize, usize),
    closed: bool,
}

/// Messages that are sent together, and the promise to their callers.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) batch: Batch,
    pub(super) promise: Promise,
}

impl Outbox {
    /// Creates an outbox whose batches hold up to `most` messages. A message waits for a slot for up to `max_wait`.
    pub(super) fn new(most: usize, max_wait: Duration) -> Self {
        Self {
            slots: Semaphore::new(QUEUE),
            batches: Mutex::default(),
            filled: Notify::new(),
            most,
            max_wait,
        }
    }

    /// Queues a message and waits until it is published. Returns the number of connections that took it, if the bus
    /// reports it.
    ///
    /// A call that is dropped after it has queued the message still sends it.
    pub(super) async fn publish(&self, topic: &str, payload: &[u8]) -> Result<Option<usize>, LinkError> {
        self.wait_for_slot().await?;
        let mut pending: Option<PendingAnswer> = None;
        poll_fn(|cx| match &pending {
            Some(pending) => pending.poll(cx),
            None => {
                pending = Some(self.push(topic, payload, cx)?);
                Poll::Pending // there cannot be an answer yet
            }
        })
        .await
    }

    /// Waits until a batch can be sent. Cancel safe.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes the oldest batch.
    pub(super) fn take(&self) -> Option<Outgoing> {
        let mut batches = self.batches();
        let outgoing = batches.queue.pop_front()?;
        let (messages, bytes) = (outgoing.batch.len(), outgoing.batch.byte_len());
        batches.usual = (messages, bytes.min(READY));
        let more = !batches.queue.is_empty();
        drop(batches);
        self.slots.add_permits(messages);
        if more {
            self.filled.notify_one();
        }
        Some(outgoing)
    }

    /// Refuses later messages, and answers the waiting callers.
    pub(super) fn close(&self) {
        self.slots.close();
        let mut batches = self.batches();
        batches.closed = true;
        let waste = std::mem::take(&mut batches.queue);
        drop(batches);
        drop(waste); // wakes the callers: not under the lock
    }

    pub(super) fn is_closed(&self) -> bool {
        self.slots.is_closed()
    }

    /// Waits for a free slot. The message must be pushed in the same poll.
    async fn wait_for_slot(&self) -> Result<(), LinkError> {
        let permit = match self.slots.try_acquire() {
            Err(TryAcquireError::NoPermits) => {
                let turn = timeout(self.max_wait, self.slots.acquire()).await;
                turn.map_err(|_| LinkError::QueueFull)?.map_err(|_| LinkError::Closed)?
            }
            permit => permit.map_err(|_| LinkError::Closed)?,
        };
        permit.forget(); // given back when its batch is taken
        Ok(())
    }

    fn push(&self, topic: &str, payload: &[u8], cx: &Context<'_>) -> Result<PendingAnswer, LinkError> {
        let mut batches = self.batches();
        if batches.closed {
            return Err(LinkError::Closed);
        }
        let is_first = batches.queue.is_empty();
        let outgoing = batches.open(self.most);
        outgoing.batch.push(topic, payload);
        let pending = outgoing.promise.register(cx.waker());
        drop(batches);
        if is_first {
            self.filled.notify_one();
        }
        Ok(pending)
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        lock(&self.batches)
    }
}

impl Batches {
    /// Returns the batch that takes the next message.
    fn open(&mut self, most: usize) -> &mut Outgoing {
        let is_full =
            |outgoing: &Outgoing| outgoing.batch.len() >= most || outgoing.batch.byte_len() >= BYTES;
        if self.queue.back().is_none_or(is_full) {
            let (messages, bytes) = self.usual;
            let batch = Batch::with_capacity(messages, bytes);
            self.queue.push_back(Outgoing { batch, promise: Promise::new(messages) });
        }
        self.queue.back_mut().expect("a batch was pushed")
    }
}

#[cfg(test)]
mod tests;
