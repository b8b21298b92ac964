//! The queue of one mailbox: capacity, policy and expiry, without locks, wakers or clocks.

use std::mem;

use tokio::time::Instant;

use super::{
    burst::BurstPart,
    counts::Counts,
    delivery::Delivery,
    items::{Item, Items},
    ledger::Ledger,
    reason::DropReason,
};
use crate::{
    config::{MailboxLimits, OverflowPolicy},
    message::Message,
};

#[derive(Default)]
pub(super) struct Queue {
    items: Items,
    /// The sum of the sizes of the messages.
    bytes: usize,
    counts: Counts,
}

/// The outcome of a message that was offered to a queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// The message is in the queue.
    Queued,
    /// The queue is full.
    Refused,
    /// The queue is full, and its policy is to close.
    Overflow,
}

impl Queue {
    /// Offers a message; `more` may follow at once. `now` is called only when the queue seems full: expired messages make
    /// room.
    pub(super) fn offer(
        &mut self,
        delivery: Delivery,
        more: usize,
        limits: &MailboxLimits,
        now: impl FnOnce() -> Instant,
    ) -> Offer {
        self.counts.offer(1);
        if let OverflowPolicy::KeepLatest { field } = &limits.overflow {
            self.replace(&delivery, field);
        }
        if !self.fits(limits, &delivery) {
            self.drop_expired(now());
            if let Some(refusal) = self.make_room(limits, &delivery) {
                self.counts.drop(DropReason::Full, 1);
                return refusal;
            }
        }
        self.bytes += delivery.message.size();
        self.items.push(Item::One(delivery), more);
        Offer::Queued
    }

    /// Queues the messages of a burst as one item, if all of them fit in. False if each has to be offered alone.
    pub(super) fn offer_burst(&mut self, part: BurstPart, limits: &MailboxLimits) -> bool {
        let MailboxLimits { bounds, overflow } = limits;
        let (messages, bytes) = (part.len(), part.bytes());
        // A message may be in the way of another of the same burst under `KeepLatest`; one alone needs no burst.
        if messages < 2
            || matches!(overflow, OverflowPolicy::KeepLatest { .. })
            || self.items.len() + messages > bounds.messages
            || self.bytes + bytes > bounds.bytes
        {
            return false;
        }
        self.counts.offer(messages);
        self.bytes += bytes;
        self.items.push(Item::Burst(part), 0);
        true
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.take_first()?;
        self.counts.deliver(1);
        Some(message)
    }

    /// Takes all messages. The queue's memory goes with them: ten thousand idle mailboxes must not keep what their
    /// busiest moment took.
    pub(super) fn drain(&mut self) -> Items {
        self.counts.deliver(self.items.len());
        self.take_items()
    }

    /// Takes all messages, to be dropped.
    pub(super) fn discard(&mut self, reason: DropReason) -> Items {
        self.counts.drop(reason, self.items.len());
        self.take_items()
    }

    /// Drops the oldest messages that have expired: a layer's messages expire in the order in which they were sent.
    pub(super) fn drop_expired(&mut self, now: Instant) {
        while self.items.oldest().is_some_and(|first| first.expires <= now) {
            self.take_first();
            self.counts.drop(DropReason::Expired, 1);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn ledger(&self) -> Ledger {
        self.counts.ledger(self.items.len())
    }

    fn fits(&self, limits: &MailboxLimits, delivery: &Delivery) -> bool {
        let bounds = &limits.bounds;
        self.items.is_empty()
            || (self.items.len() < bounds.messages && self.bytes + delivery.message.size() <= bounds.bytes)
    }

    /// Makes room by the policy; `None` if there is some now.
    fn make_room(&mut self, limits: &MailboxLimits, delivery: &Delivery) -> Option<Offer> {
        while !self.fits(limits, delivery) {
            match limits.overflow {
                OverflowPolicy::RefuseNewest => return Some(Offer::Refused),
                OverflowPolicy::Close => return Some(Offer::Overflow),
                OverflowPolicy::DropOldest | OverflowPolicy::KeepLatest { .. } => {
                    self.take_first();
                    self.counts.drop(DropReason::Evicted, 1);
                }
            }
        }
        None
    }

    /// Takes out the message that this one replaces.
    fn replace(&mut self, delivery: &Delivery, field: &str) {
        let Some(key) = delivery.message.get(field) else { return };
        // At most one: it replaced those before it.
        if let Some(old) = self.items.remove(|other| other.message.get(field) == Some(key)) {
            self.bytes -= old.message.size();
            self.counts.drop(DropReason::Replaced, 1);
        }
    }

    fn take_first(&mut self) -> Option<Message> {
        let delivery = self.items.pop()?;
        self.bytes -= delivery.message.size();
        Some(delivery.message)
    }

    fn take_items(&mut self) -> Items {
        self.bytes = 0;
        mem::take(&mut self.items)
    }
}

#[cfg(test)]
mod tests;
