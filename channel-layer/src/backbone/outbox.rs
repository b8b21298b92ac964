//! The messages that wait to be published. Callers write into a batch that they share; the publisher takes it whole, and
//! answers all of them at once.
//!
//! A message needs no memory of its own on this way, and its caller is woken once: with a channel for each reply, and its
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
    answers::{Promise, Ticket},
    error::LinkError,
    link::Batch,
};

use crate::sync::{Mutex, MutexGuard, lock};

/// Messages in one batch: enough to make the price of a round trip vanish, few enough that the server works on some while
/// the next are put together.
pub(super) const BATCH: usize = 256;

/// Messages that wait to be sent. A caller waits when it is full; it is emptied at once while there is no link.
const QUEUE: usize = 4096;

/// The memory that a batch is given before its first message comes, at most.
const READY: usize = 64 << 10;

/// A batch takes no more messages once it has this many bytes: each has one deadline, whatever the connection can carry.
const BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Outbox {
    /// A permit for each message that may still come. Fair: a caller that waits has its turn before later ones.
    room: Semaphore,
    /// Held while a message is copied or a batch taken out.
    batches: Mutex<Batches>,
    /// There is something to send. The publisher alone waits.
    filled: Notify,
    /// The number of messages in one batch.
    most: usize,
    /// The longest time that a message waits for room.
    patience: Duration,
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
    /// An outbox whose batches hold this number of messages, and where a message waits this long for room.
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self { room: Semaphore::new(QUEUE), batches: Mutex::default(), filled: Notify::new(), most, patience }
    }

    /// Queues a message and waits until it is published. Returns the number of connections that took it, where the bus
    /// tells.
    ///
    /// Dropped once it was polled with room in the queue, the message is sent all the same.
    pub(super) async fn publish(&self, topic: &str, payload: &[u8]) -> Result<Option<usize>, LinkError> {
        self.wait_for_room().await?;
        let mut ticket: Option<Ticket> = None;
        poll_fn(|cx| match &ticket {
            Some(ticket) => ticket.poll(cx),
            None => {
                ticket = Some(self.push(topic, payload, cx)?);
                Poll::Pending // there cannot be an answer yet
            }
        })
        .await
    }

    /// Waits until there is something to send. Cancel safe.
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
        self.room.add_permits(messages);
        if more {
            self.filled.notify_one();
        }
        Some(outgoing)
    }

    /// Takes nothing from now on, and tells the callers that wait.
    pub(super) fn close(&self) {
        self.room.close();
        let mut batches = self.batches();
        batches.closed = true;
        let waste = std::mem::take(&mut batches.queue);
        drop(batches);
        drop(waste); // wakes the callers: not under the lock
    }

    pub(super) fn is_closed(&self) -> bool {
        self.room.is_closed()
    }

    /// Waits for room. The message must be pushed in the same poll.
    async fn wait_for_room(&self) -> Result<(), LinkError> {
        let permit = match self.room.try_acquire() {
            Err(TryAcquireError::NoPermits) => {
                let turn = timeout(self.patience, self.room.acquire()).await;
                turn.map_err(|_| LinkError::Crowded)?.map_err(|_| LinkError::Closed)?
            }
            permit => permit.map_err(|_| LinkError::Closed)?,
        };
        permit.forget(); // given back when its batch is taken
        Ok(())
    }

    fn push(&self, topic: &str, payload: &[u8], cx: &Context<'_>) -> Result<Ticket, LinkError> {
        let mut batches = self.batches();
        if batches.closed {
            return Err(LinkError::Closed);
        }
        let is_first = batches.queue.is_empty();
        let outgoing = batches.open(self.most);
        outgoing.batch.push(topic, payload);
        let ticket = outgoing.promise.ticket(cx.waker());
        drop(batches);
        if is_first {
            self.filled.notify_one();
        }
        Ok(ticket)
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        lock(&self.batches)
    }
}

impl Batches {
    /// The batch that has room.
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
