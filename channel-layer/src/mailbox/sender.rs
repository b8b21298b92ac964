//! The sending end of a mailbox, and the queue between the two.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::{
    ledger::{Ledger, Reason},
    queue::{Offer, Queue},
};
use crate::{
    config::MailboxLimits,
    message::Message,
    name::ChannelName,
    sync::{Mutex, MutexGuard, lock},
};

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
    /// Its owner is gone, or it closed because it was full.
    Closed,
    /// It holds as much as it may.
    Full,
}

/// The sending end of a [`Mailbox`](super::Mailbox); clones share it. Sending never waits.
#[derive(Clone)]
pub struct MailboxSender(Arc<Shared>);

struct Shared {
    channel: ChannelName,
    limits: MailboxLimits,
    /// A lock, not a channel of tokio's: an idle queue of those takes a kilobyte, and this one is held for
    /// tens of nanoseconds, by one receiver and whoever sends.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// The receiver's. Kept from wake-up to wake-up: a task's waker rarely changes, and cloning it for each
    /// message costs more than the message.
    waker: Option<Waker>,
    phase: Phase,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Closed by its policy: the owner is still there, and has to be told.
    Overflowed,
    /// The owner is gone.
    Closed,
}

impl MailboxSender {
    pub(super) fn new(channel: ChannelName, limits: MailboxLimits) -> Self {
        Self(Arc::new(Shared { channel, limits, state: Mutex::default() }))
    }

    /// Queues a message, or says why not.
    ///
    /// # Errors
    /// [`Refusal`], with nothing queued.
    pub fn deliver(&self, delivery: Delivery) -> Result<(), Refusal> {
        self.offer(|state, limits| state.offer(delivery, 0, limits))
    }

    /// Queues messages in their order, at the price of one lock and at most one wake-up. `refused` is told the places of
    /// those that were not; it runs under the lock.
    pub(crate) fn deliver_all<'a>(
        &self,
        deliveries: impl Iterator<Item = (usize, &'a Delivery)>,
        mut refused: impl FnMut(usize, Refusal),
    ) {
        self.offer(|state, limits| {
            let mut more = deliveries.size_hint().1.unwrap_or_default();
            for (place, delivery) in deliveries {
                more = more.saturating_sub(1);
                if let Err(refusal) = state.offer(delivery.clone(), more, limits) {
                    refused(place, refusal);
                }
            }
        });
    }

    /// Only the step from empty to not empty wakes: the receiver takes all that is there. Under the lock, so that no
    /// receiver can see a message, sleep again, and miss the wake-up of the next one.
    fn offer<T>(&self, offer: impl FnOnce(&mut State, &MailboxLimits) -> T) -> T {
        let mut state = self.state();
        let (was_empty, was_open) = (state.queue.is_empty(), state.phase == Phase::Open);
        let outcome = offer(&mut state, &self.0.limits);
        if was_open && state.phase == Phase::Overflowed {
            self.overflow(state);
        } else if was_empty && !state.queue.is_empty() {
            state.wake();
        }
        outcome
    }

    #[cold]
    fn overflow(&self, mut state: MutexGuard<'_, State>) {
        let waste = state.queue.discard(Reason::Closed);
        state.wake();
        drop(state);
        drop(waste); // what it drops may be anything: not under the lock
        tracing::debug!(channel = %self.0.channel, "a mailbox was full and has closed");
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

    /// Would a message be refused as [`Closed`](Refusal::Closed)?
    pub fn is_closed(&self) -> bool {
        self.state().phase != Phase::Open
    }

    /// What became of the messages that were offered while the mailbox was open.
    pub fn ledger(&self) -> Ledger {
        self.state().queue.ledger()
    }

    /// Are both the same mailbox's?
    pub fn same_mailbox(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Tells mailboxes apart, for as long as `self` is kept.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Takes all messages that have not expired, with their expiries.
    pub(crate) fn take_back(&self) -> Vec<Delivery> {
        let mut state = self.state();
        state.queue.drop_expired(Instant::now());
        let mut items = state.queue.drain();
        std::iter::from_fn(|| items.pop()).collect()
    }

    pub(crate) fn pop(&self) -> Option<Message> {
        self.state().pop()
    }

    /// The next message, or nothing once the mailbox has closed by its policy.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.state();
        if let Some(message) = state.pop() {
            return Poll::Ready(Some(message));
        }
        if state.phase != Phase::Open {
            return Poll::Ready(None);
        }
        state.register(cx.waker());
        Poll::Pending
    }

    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        state.register(cx.waker());
        let quiet = state.queue.is_empty() && state.phase == Phase::Open;
        if quiet { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(crate) fn drain_into(&self, messages: &mut Vec<Message>) {
        let mut state = self.state();
        if state.queue.is_empty() {
            return;
        }
        state.queue.drop_expired(Instant::now());
        let queue = state.queue.drain();
        drop(state);
        queue.append_to(messages);
    }

    /// Drops what waits, for a flush.
    pub(crate) fn flush(&self) {
        let waste = self.state().queue.discard(Reason::Flushed);
        drop(waste);
    }

    /// Drops what waits past its time.
    pub(crate) fn expire(&self, now: Instant) {
        self.state().queue.drop_expired(now);
    }

    pub(crate) fn is_overflowed(&self) -> bool {
        self.state().phase == Phase::Overflowed
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.phase = Phase::Closed;
        let waste = state.queue.discard(Reason::Closed);
        // The waker goes too: a task that owns its own mailbox would keep itself alive through it.
        let waker = state.waker.take();
        drop(state);
        drop((waste, waker)); // what they drop may be anything: not under the lock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be left half done by a panic, so a poisoned lock is as good as any.
        lock(&self.0.state)
    }
}

impl State {
    /// As many as `more` may follow at once.
    fn offer(&mut self, delivery: Delivery, more: usize, limits: &MailboxLimits) -> Result<(), Refusal> {
        if self.phase != Phase::Open {
            return Err(Refusal::Closed);
        }
        match self.queue.offer(delivery, more, limits, Instant::now) {
            Offer::Queued => Ok(()),
            Offer::Refused => Err(Refusal::Full),
            Offer::Overflow => {
                self.phase = Phase::Overflowed;
                Err(Refusal::Full)
            }
        }
    }

    fn pop(&mut self) -> Option<Message> {
        if self.queue.is_empty() {
            return None; // without asking for the time
        }
        self.queue.drop_expired(Instant::now());
        self.queue.pop()
    }

    fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

impl fmt::Debug for MailboxSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MailboxSender").field(self.channel()).finish()
    }
}
