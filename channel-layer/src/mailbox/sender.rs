//! The sending end of a mailbox, and the queue between the two.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::Bounds;
use crate::{message::Message, name::ChannelName};

/// A message on its way to one mailbox.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What is delivered.
    pub message: Message,
    /// From when on it is dropped instead.
    pub expires: Instant,
}

/// Why a mailbox did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its owner is gone.
    Closed,
    /// It holds as much as it may.
    Full,
}

/// The sending end of a [`Mailbox`](super::Mailbox); clones share it. Sending never waits.
#[derive(Clone)]
pub struct MailboxSender(Arc<Shared>);

struct Shared {
    channel: ChannelName,
    bounds: Bounds,
    /// A lock, not a channel of tokio's: an idle queue of those takes a kilobyte, and this one is held for
    /// tens of nanoseconds, by one receiver and whoever sends.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Delivery>,
    /// Sum of the sizes of what is queued.
    bytes: usize,
    /// The receiver's. Kept from wake-up to wake-up: a task's waker rarely changes, and cloning it for each
    /// message costs more than the message.
    waker: Option<Waker>,
    closed: bool,
}

impl MailboxSender {
    pub(super) fn new(channel: ChannelName, bounds: Bounds) -> Self {
        Self(Arc::new(Shared { channel, bounds, state: Mutex::default() }))
    }

    /// Queues a message, or says why not.
    ///
    /// # Errors
    /// [`Refusal`], with nothing queued.
    pub fn deliver(&self, delivery: Delivery) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if !state.has_room(&self.0.bounds, delivery.message.size()) {
            return Err(Refusal::Full);
        }
        state.push(delivery);
        Ok(())
    }

    /// The channel's name.
    pub fn channel(&self) -> &ChannelName {
        &self.0.channel
    }

    /// How many messages wait, expired ones included.
    pub fn len(&self) -> usize {
        self.state().queue.len()
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Are both the same mailbox's?
    pub fn same_mailbox(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Tells mailboxes apart, for as long as `self` is kept.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn pop(&self) -> Option<Message> {
        let mut state = self.state();
        if state.queue.is_empty() {
            return None;
        }
        state.drop_expired(Instant::now());
        state.pop()
    }

    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        if state.queue.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(crate) fn drain_into(&self, messages: &mut Vec<Message>) {
        let mut state = self.state();
        state.drop_expired(Instant::now());
        // The queue's memory goes: ten thousand idle mailboxes must not keep what their busiest moment took.
        let queue = mem::take(&mut state.queue);
        state.bytes = 0;
        drop(state);
        messages.extend(queue.into_iter().map(|delivery| delivery.message));
    }

    /// Drops what waits past its time.
    pub(crate) fn expire(&self, now: Instant) {
        self.state().drop_expired(now);
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        // The waker goes too: a task that owns its own mailbox would keep itself alive through it.
        let State { queue, waker, .. } = mem::take(&mut *state);
        state.closed = true;
        drop(state);
        drop((queue, waker)); // what they drop may be anything: not under the lock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be left half done by a panic, so a poisoned lock is as good as any.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&mut self, bounds: &Bounds, size: usize) -> bool {
        if self.fits(bounds, size) {
            return true;
        }
        self.drop_expired(Instant::now());
        self.fits(bounds, size)
    }

    fn fits(&self, bounds: &Bounds, size: usize) -> bool {
        self.queue.len() < bounds.messages && (self.queue.is_empty() || self.bytes + size <= bounds.bytes)
    }

    fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.message.size();
        self.queue.push_back(delivery);
        // Only the first message wakes: the receiver takes all that is there. Under the lock, so that no
        // receiver can see the message, sleep again, and miss the wake-up of the next one.
        if self.queue.len() == 1
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    fn pop(&mut self) -> Option<Message> {
        let delivery = self.queue.pop_front()?;
        self.bytes -= delivery.message.size();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(delivery.message)
    }

    /// A layer's messages expire in the order in which they were sent, so the oldest tell.
    fn drop_expired(&mut self, now: Instant) {
        while self.queue.front().is_some_and(|first| first.expires <= now) {
            self.pop();
        }
    }
}

impl fmt::Debug for MailboxSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MailboxSender").field(self.channel()).finish()
    }
}
