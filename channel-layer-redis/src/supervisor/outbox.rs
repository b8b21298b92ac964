//! What waits to be sent. Callers write into a batch that they share; the publisher takes it whole, and answers all of
//! them in one go.
//!
//! A message costs no memory of its own on this way, and its caller is woken once: with a channel of its own for each
//! reply, and its bytes freed on another thread, the allocator's locks were a quarter of the price of a publish.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, TryAcquireError, oneshot},
    time::timeout,
};

use super::answers::{Promise, Ticket};
use crate::{
    error::Fault,
    link::client::{Command, Reply},
};

/// Commands that wait to be sent. A caller waits when it is full; it is emptied at once while there is no
/// connection.
const QUEUE: usize = 4096;

/// Memory that a batch is given before its first command comes, at most.
const READY: usize = 64 << 10;

/// A batch takes nothing more once it has this many bytes: each has one deadline, whatever the way can carry.
const BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Outbox {
    /// A permit for each command that may still come. Fair: who waits has a turn before later callers.
    room: Semaphore,
    /// Held while a command is copied or a batch taken out.
    batches: Mutex<Batches>,
    /// There is something to send. The publisher alone waits.
    filled: Notify,
    /// Commands in one batch.
    most: usize,
    /// How long a command may wait for room.
    patience: Duration,
}

#[derive(Debug, Default)]
struct Batches {
    /// Callers write into the last one.
    queue: VecDeque<Batch>,
    /// How much memory the last batch took.
    usual: (usize, usize),
    closed: bool,
}

/// Commands that are sent in one write, in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// Channels and envelopes, one after the other.
    pub(super) bytes: Vec<u8>,
    pub(super) publishes: Promise,
}

#[derive(Debug)]
pub(super) enum Entry {
    Call(Box<Call>),
    /// So many of the bytes are the channel, so many the envelope. Its sequence is filled in when it is its turn.
    Publish {
        channel: usize,
        envelope: usize,
    },
}

/// A command and who waits for its reply.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<Reply, Fault>>,
}

/// A command that has its place.
#[derive(Debug)]
pub(crate) struct Queued {
    reply: oneshot::Receiver<Result<Reply, Fault>>,
}

impl Queued {
    /// Waits for the reply.
    pub(crate) async fn reply(self) -> Result<Reply, Fault> {
        self.reply.await.unwrap_or(Err(Fault::Closed))
    }
}

impl Outbox {
    /// One whose batches hold so many commands, and where a command waits so long for room.
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self { room: Semaphore::new(QUEUE), batches: Mutex::default(), filled: Notify::new(), most, patience }
    }

    /// Queues an envelope and waits until it is published; says how many processes took it.
    ///
    /// Dropped once it was polled with room in the queue, the envelope is sent all the same.
    pub(super) async fn publish(&self, channel: String, envelope: Vec<u8>) -> Result<u64, Fault> {
        self.wait_for_room().await?;
        let mut message = Some((channel, envelope));
        let mut ticket = None;
        poll_fn(|cx| {
            if let Some((channel, envelope)) = message.take() {
                ticket = Some(self.push_publish(&channel, &envelope, cx)?);
                return Poll::Pending; // nobody can have answered yet
            }
            ticket.as_ref().map_or(Poll::Pending, |ticket: &Ticket| ticket.poll(cx))
        })
        .await
    }

    /// Queues any command that answers at once. It is sent whether its reply is waited for or not.
    pub(super) async fn queue(&self, command: Command) -> Result<Queued, Fault> {
        self.wait_for_room().await?;
        let (answer, reply) = oneshot::channel();
        self.push(|batch| batch.entries.push(Entry::Call(Box::new(Call { command, answer }))))?;
        Ok(Queued { reply })
    }

    /// Waits until there is something to send. Cancel safe.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// The oldest batch.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut batches = self.batches();
        let batch = batches.queue.pop_front()?;
        batches.usual = (batch.entries.len(), batch.bytes.len().min(READY));
        let more = !batches.queue.is_empty();
        drop(batches);
        self.room.add_permits(batch.entries.len());
        if more {
            self.filled.notify_one();
        }
        Some(batch)
    }

    /// From now on nothing is taken, and who waits is told so.
    pub(super) fn close(&self) {
        self.room.close();
        let mut batches = self.batches();
        batches.closed = true;
        let waste = std::mem::take(&mut batches.queue);
        drop(batches);
        drop(waste); // wakes those who wait: not under the lock
    }

    pub(super) fn is_closed(&self) -> bool {
        self.room.is_closed()
    }

    /// The command has room then, and must be pushed in the same moment.
    async fn wait_for_room(&self) -> Result<(), Fault> {
        let permit = match self.room.try_acquire() {
            Err(TryAcquireError::NoPermits) => {
                let turn = timeout(self.patience, self.room.acquire()).await;
                turn.map_err(|_| Fault::Crowded)?.map_err(|_| Fault::Closed)?
            }
            permit => permit.map_err(|_| Fault::Closed)?,
        };
        permit.forget(); // given back when its batch is taken
        Ok(())
    }

    fn push_publish(&self, channel: &str, envelope: &[u8], cx: &Context<'_>) -> Result<Ticket, Fault> {
        self.push(|batch| {
            batch.bytes.extend_from_slice(channel.as_bytes());
            batch.bytes.extend_from_slice(envelope);
            batch.entries.push(Entry::Publish { channel: channel.len(), envelope: envelope.len() });
            batch.publishes.ticket(cx.waker())
        })
    }

    fn push<T>(&self, write: impl FnOnce(&mut Batch) -> T) -> Result<T, Fault> {
        let mut batches = self.batches();
        if batches.closed {
            return Err(Fault::Closed);
        }
        let is_first = batches.queue.is_empty();
        let written = write(batches.open(self.most));
        drop(batches);
        if is_first {
            self.filled.notify_one();
        }
        Ok(written)
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        // Nothing in here is left half done by a panic.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batches {
    /// The batch that has room.
    fn open(&mut self, most: usize) -> &mut Batch {
        let is_full = |batch: &Batch| batch.entries.len() >= most || batch.bytes.len() >= BYTES;
        if self.queue.back().is_none_or(is_full) {
            let (entries, bytes) = self.usual;
            self.queue.push_back(Batch {
                entries: Vec::with_capacity(entries),
                bytes: Vec::with_capacity(bytes),
                publishes: Promise::new(entries),
            });
        }
        self.queue.back_mut().expect("there is one by now")
    }
}

#[cfg(test)]
mod tests;
