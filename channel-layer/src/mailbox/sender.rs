//! The sending end of a mailbox, and the state that both ends share.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::{
    burst::{Burst, BurstPart},
    delivery::{Delivery, Refusal},
    ledger::Ledger,
    queue::{Items, MailboxPart, Offer, Queue, TakenMessage},
    reason::DropReason,
};
use crate::{
    config::MailboxLimits,
    message::Message,
    name::ChannelName,
    sync::{Mutex, MutexGuard, lock},
};

/// The sending end of a [`Mailbox`](super::Mailbox); clones share it. Sending never waits.
#[derive(Clone)]
pub struct MailboxSender(Arc<SharedSender>);

struct SharedSender {
    channel: ChannelName,
    limits: MailboxLimits,
    /// A lock, not a channel of tokio's: an idle queue of those takes a kilobyte, and this lock is held for tens of
    /// nanoseconds, by one receiver and the senders.
    state: Mutex<MailboxState>,
}

#[derive(Default)]
struct MailboxState {
    queue: Queue,
    /// The receiver's waker. Kept from wake-up to wake-up: it rarely changes, and cloning it for each message costs more
    /// than the message.
    waker: Option<Waker>,
    phase: MailboxPhase,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum MailboxPhase {
    #[default]
    Open,
    /// Closed by its policy, with an owner that has yet to see it.
    Overflowed,
    /// The owner is gone.
    Closed,
}

impl MailboxSender {
    pub(super) fn new(channel: ChannelName, limits: MailboxLimits) -> Self {
        Self(Arc::new(SharedSender { channel, limits, state: Mutex::default() }))
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`Refusal`], with nothing queued.
    pub fn deliver(&self, delivery: Delivery) -> Result<(), Refusal> {
        self.offer(|state, limits| state.offer(delivery, 0, limits))
    }

    /// Queues the messages of a burst but for those at `skipped`, with one lock and at most one wake-up, as if they were
    /// delivered one by one. `refused` gets the positions of those that were refused; it runs under the lock.
    pub(crate) fn deliver_burst(
        &self,
        burst: &Burst,
        skipped: &[usize],
        mut refused: impl FnMut(usize, Refusal),
    ) {
        let part = BurstPart::new(burst, skipped);
        self.offer(|state, limits| {
            if part.is_some_and(|part| state.offer_burst(part, limits)) {
                return;
            }
            let mut more = burst.len() - skipped.len();
            for (position, delivery) in burst.deliveries().iter().enumerate() {
                if !skipped.contains(&position) {
                    more -= 1;
                    if let Err(refusal) = state.offer(delivery.clone(), more, limits) {
                        refused(position, refusal);
                    }
                }
            }
        });
    }

    /// Wakes the receiver only when the mailbox goes from empty to not empty: it takes all messages. Under the lock, so
    /// that no receiver can see a message, sleep again, and miss the wake-up of the next one.
    fn offer<T>(&self, offer: impl FnOnce(&mut MailboxState, &MailboxLimits) -> T) -> T {
        let mut state = self.state();
        let (was_empty, was_open) = (state.queue.is_empty(), state.phase == MailboxPhase::Open);
        let outcome = offer(&mut state, &self.0.limits);
        if was_open && state.phase == MailboxPhase::Overflowed {
            self.overflow(state);
        } else if was_empty && !state.queue.is_empty() {
            state.wake();
        }
        outcome
    }

    #[cold]
    fn overflow(&self, mut state: MutexGuard<'_, MailboxState>) {
        let waste = state.queue.discard(DropReason::Closed);
        state.wake();
        drop(state);
        drop(waste); // what it drops may be anything: not under the lock
        tracing::debug!(channel = %self.0.channel, "a mailbox was full and has closed");
    }

    /// The channel's name.
    pub fn channel(&self) -> &ChannelName {
        &self.0.channel
    }

    /// The number of messages in the mailbox, expired ones included.
    pub fn len(&self) -> usize {
        self.state().queue.len()
    }

    /// Whether the mailbox is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a message would be refused as [`Closed`](Refusal::Closed).
    pub fn is_closed(&self) -> bool {
        self.state().phase != MailboxPhase::Open
    }

    /// The account of the messages that were offered while the mailbox was open.
    pub fn ledger(&self) -> Ledger {
        self.state().queue.ledger()
    }

    /// Whether both belong to the same mailbox.
    pub fn same_mailbox(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// An identifier of the mailbox, valid as long as `self` is kept.
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
        let taken = self.state().pop()?;
        drop(taken.spent); // what it drops may be anything: not under the lock
        Some(taken.delivery.message)
    }

    /// The next message, or `None` once the mailbox has closed by its policy.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.state();
        if let Some(taken) = state.pop() {
            drop(state);
            drop(taken.spent); // what it drops may be anything: not under the lock
            return Poll::Ready(Some(taken.delivery.message));
        }
        if state.phase != MailboxPhase::Open {
            return Poll::Ready(None);
        }
        state.register(cx.waker());
        Poll::Pending
    }

    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        state.register(cx.waker());
        let quiet = state.queue.is_empty() && state.phase == MailboxPhase::Open;
        if quiet { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(crate) fn drain_into(&self, messages: &mut Vec<Message>) {
        if let Some(items) = self.drain() {
            items.append_to(messages);
        }
    }

    pub(crate) fn drain_parts_into(&self, parts: &mut Vec<MailboxPart>) {
        if let Some(items) = self.drain() {
            items.append_parts_to(parts);
        }
    }

    /// Takes all messages that have not expired. `None` if there are none.
    fn drain(&self) -> Option<Items> {
        let mut state = self.state();
        if state.queue.is_empty() {
            return None;
        }
        state.queue.drop_expired(Instant::now());
        Some(state.queue.drain())
    }

    /// Drops all messages, for a flush.
    pub(crate) fn flush(&self) {
        let waste = self.state().queue.discard(DropReason::Flushed);
        drop(waste);
    }

    /// Drops the messages that have expired.
    pub(crate) fn expire(&self, now: Instant) {
        self.state().queue.drop_expired(now);
    }

    pub(crate) fn is_overflowed(&self) -> bool {
        self.state().phase == MailboxPhase::Overflowed
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.phase = MailboxPhase::Closed;
        let waste = state.queue.discard(DropReason::Closed);
        // The waker goes too: a task that owns its own mailbox would keep itself alive through it.
        let waker = state.waker.take();
        drop(state);
        drop((waste, waker)); // what they drop may be anything: not under the lock
    }

    fn state(&self) -> MutexGuard<'_, MailboxState> {
        lock(&self.0.state)
    }
}

impl MailboxState {
    /// Offers a message; `more` may follow at once.
    fn offer(&mut self, delivery: Delivery, more: usize, limits: &MailboxLimits) -> Result<(), Refusal> {
        if self.phase != MailboxPhase::Open {
            return Err(Refusal::Closed);
        }
        match self.queue.offer(delivery, more, limits, Instant::now) {
            Offer::Queued => Ok(()),
            Offer::Refused => Err(Refusal::Full),
            Offer::Overflow => {
                self.phase = MailboxPhase::Overflowed;
                Err(Refusal::Full)
            }
        }
    }

    fn offer_burst(&mut self, part: BurstPart, limits: &MailboxLimits) -> bool {
        self.phase == MailboxPhase::Open && self.queue.offer_burst(part, limits)
    }

    fn pop(&mut self) -> Option<TakenMessage> {
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
