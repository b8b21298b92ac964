//! What waits in one mailbox: capacity, policy and expiry, without locks, wakers or clocks.

use std::mem;

use tokio::time::Instant;

use super::{
    items::Items,
    ledger::{Counts, Ledger, Reason},
    sender::Delivery,
};
use crate::{
    config::{MailboxLimits, OverflowPolicy},
    message::Message,
};

#[derive(Default)]
pub(super) struct Queue {
    items: Items,
    /// Sum of the sizes of what is queued.
    bytes: usize,
    counts: Counts,
}

/// What a queue did with a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It waits now.
    Queued,
    /// There was no room.
    Refused,
    /// There was no room, and the policy is to close.
    Overflow,
}

impl Queue {
    /// As many as `more` may follow at once. `now` is asked for only when the queue seems full: expired messages
    /// make room.
    pub(super) fn offer(
        &mut self,
        delivery: Delivery,
        more: usize,
        limits: &MailboxLimits,
        now: impl FnOnce() -> Instant,
    ) -> Offer {
        self.counts.offer();
        if let OverflowPolicy::KeepLatest { field } = &limits.overflow {
            self.replace(&delivery, field);
        }
        if !self.fits(limits, &delivery) {
            self.drop_expired(now());
            if let Some(refusal) = self.make_room(limits, &delivery) {
                self.counts.drop(Reason::Full, 1);
                return refusal;
            }
        }
        self.bytes += delivery.message.size();
        self.items.push(delivery, more);
        Offer::Queued
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.take_first()?;
        self.counts.deliver(1);
        Some(message)
    }

    /// All that waits. The queue's memory goes with it: ten thousand idle mailboxes must not keep what their
    /// busiest moment took.
    pub(super) fn drain(&mut self) -> Items {
        self.counts.deliver(self.items.len());
        self.take_items()
    }

    /// All that waits, to be dropped.
    pub(super) fn discard(&mut self, reason: Reason) -> Items {
        self.counts.drop(reason, self.items.len());
        self.take_items()
    }

    /// A layer's messages expire in the order in which they were sent, so the oldest tell.
    pub(super) fn drop_expired(&mut self, now: Instant) {
        while self.items.oldest().is_some_and(|first| first.expires <= now) {
            self.take_first();
            self.counts.drop(Reason::Expired, 1);
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

    /// Nothing if there is room now.
    fn make_room(&mut self, limits: &MailboxLimits, delivery: &Delivery) -> Option<Offer> {
        while !self.fits(limits, delivery) {
            match limits.overflow {
                OverflowPolicy::RefuseNewest => return Some(Offer::Refused),
                OverflowPolicy::Close => return Some(Offer::Overflow),
                OverflowPolicy::DropOldest | OverflowPolicy::KeepLatest { .. } => {
                    self.take_first();
                    self.counts.drop(Reason::Evicted, 1);
                }
            }
        }
        None
    }

    /// Takes out the message that this one is a newer version of.
    fn replace(&mut self, delivery: &Delivery, field: &str) {
        let Some(key) = delivery.message.get(field) else { return };
        // There is at most one: it was replaced likewise.
        if let Some(old) = self.items.remove(|other| other.message.get(field) == Some(key)) {
            self.bytes -= old.message.size();
            self.counts.drop(Reason::Replaced, 1);
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
