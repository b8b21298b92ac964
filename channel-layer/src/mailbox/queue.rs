//! The queue of one mailbox: capacity, policy and expiry, without locks, wakers or clocks.

use std::{collections::VecDeque, mem};

use tokio::time::Instant;

use super::{
    burst::{Burst, BurstPart},
    counts::Counts,
    delivery::Delivery,
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
        // A message may be in the way of another of the same burst under `KeepLatest`; one alone needs no burst. A part keeps
        // the whole burst in memory, so messages that are not for this mailbox would be there without being counted.
        if messages < 2
            || part.whole().is_none()
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

    pub(super) fn pop(&mut self) -> Option<TakenMessage> {
        let taken = self.take_first()?;
        self.counts.deliver(1);
        Some(taken)
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

    fn take_first(&mut self) -> Option<TakenMessage> {
        let taken = self.items.take_first()?;
        self.bytes -= taken.delivery.message.size();
        Some(taken)
    }

    fn take_items(&mut self) -> Items {
        self.bytes = 0;
        mem::take(&mut self.items)
    }
}

/// A message that was taken out of a queue.
#[derive(Debug)]
pub(super) struct TakenMessage {
    pub(super) delivery: Delivery,
    /// The part that it was the last message of. Dropped outside of the mailbox's lock: it may hold the last reference to
    /// other messages and to values of the application.
    pub(super) spent: Option<BurstPart>,
}

/// An element of the queue of a mailbox.
#[derive(Debug)]
pub(super) enum Item {
    One(Delivery),
    Burst(BurstPart),
}

/// The items of a mailbox. Most mailboxes are empty, and most of the others hold one item: it is stored in place, and the
/// list exists only while there are more. An idle mailbox is small, and a message to a hundred thousand members takes no
/// memory from the allocator (which measured eighteen times slower: it cannot keep up with that many small pieces).
#[derive(Default)]
pub(super) struct Items {
    /// The oldest, unless it was taken while there were others.
    first: Option<Item>,
    /// Never empty itself.
    rest: Option<Box<MoreItems>>,
}

#[derive(Default)]
struct MoreItems {
    items: VecDeque<Item>,
    /// The number of messages in `items`.
    messages: usize,
}

/// The messages of a mailbox that were taken out together, for authors of transports: see
/// [`Mailbox::drain_parts_into`](super::Mailbox::drain_parts_into).
#[derive(Clone, Debug)]
pub enum MailboxPart {
    /// A message that came alone.
    Message(Message),
    /// Messages that came together.
    Burst(BurstPart),
}

impl MailboxPart {
    /// Returns the messages, in the order in which they were sent.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        let (one, many) = match self {
            Self::Message(message) => (Some(message), None),
            Self::Burst(part) => (None, Some(part.messages())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Returns the burst if none of its messages is missing: its [`derived`](Burst::derived) values hold for all of
    /// these messages.
    pub fn whole_burst(&self) -> Option<&Burst> {
        match self {
            Self::Message(_) => None,
            Self::Burst(part) => part.whole(),
        }
    }
}

impl Items {
    /// Adds an item, with room for `more` that may follow it at once.
    pub(super) fn push(&mut self, item: Item, more: usize) {
        if self.is_empty() {
            self.first = Some(item);
            return;
        }
        let rest = self.rest.get_or_insert_default();
        rest.items.reserve(1 + more);
        rest.messages += item.len();
        rest.items.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        self.take_first().map(|taken| taken.delivery)
    }

    fn take_first(&mut self) -> Option<TakenMessage> {
        if let Some(first) = self.first.take() {
            let (oldest, left) = first.split()?;
            self.first = left;
            return Some(oldest);
        }
        let rest = self.rest.as_mut()?;
        let (oldest, left) = rest.items.pop_front()?.split()?;
        rest.messages -= 1;
        if let Some(left) = left {
            rest.items.push_front(left);
        }
        self.shrink();
        Some(oldest)
    }

    pub(super) fn oldest(&self) -> Option<&Delivery> {
        let item = self.first.as_ref().or_else(|| self.rest.as_ref()?.items.front())?;
        match item {
            Item::One(delivery) => Some(delivery),
            Item::Burst(part) => part.oldest(),
        }
    }

    /// Takes out the first message that `matches`, of those that came alone.
    pub(super) fn remove(&mut self, matches: impl Fn(&Delivery) -> bool) -> Option<Delivery> {
        let matches = |item: &Item| matches!(item, Item::One(delivery) if matches(delivery));
        let removed = match self.first.take_if(|first| matches(first)) {
            Some(first) => first,
            None => {
                let rest = self.rest.as_mut()?;
                let at = rest.items.iter().position(matches)?;
                rest.messages -= 1;
                let removed = rest.items.remove(at)?;
                self.shrink();
                removed
            }
        };
        removed.split().map(|(taken, _)| taken.delivery)
    }

    /// The number of messages.
    pub(super) fn len(&self) -> usize {
        self.first.as_ref().map_or(0, Item::len) + self.rest.as_ref().map_or(0, |rest| rest.messages)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    /// Appends all messages, in order.
    pub(super) fn append_to(self, messages: &mut Vec<Message>) {
        messages.reserve(self.len());
        self.for_each(|item| match item {
            Item::One(delivery) => messages.push(delivery.message),
            Item::Burst(part) => messages.extend(part.messages().cloned()),
        });
    }

    /// Appends all messages, those of a burst as one part.
    pub(super) fn append_parts_to(self, parts: &mut Vec<MailboxPart>) {
        self.for_each(|item| {
            parts.push(match item {
                Item::One(delivery) => MailboxPart::Message(delivery.message),
                Item::Burst(part) => MailboxPart::Burst(part),
            });
        });
    }

    fn for_each(self, each: impl FnMut(Item)) {
        let rest = self.rest.map(|rest| rest.items).unwrap_or_default();
        self.first.into_iter().chain(rest).for_each(each);
    }

    fn shrink(&mut self) {
        self.rest.take_if(|rest| rest.items.is_empty());
    }
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Burst(part) => part.len(),
        }
    }

    /// The oldest message, and the item that is left without it.
    fn split(self) -> Option<(TakenMessage, Option<Self>)> {
        match self {
            Self::One(delivery) => Some((TakenMessage { delivery, spent: None }, None)),
            Self::Burst(mut part) => {
                let delivery = part.pop()?;
                if part.len() > 0 {
                    return Some((TakenMessage { delivery, spent: None }, Some(Self::Burst(part))));
                }
                Some((TakenMessage { delivery, spent: Some(part) }, None))
            }
        }
    }
}

#[cfg(test)]
mod tests;
