//! The messages that wait in one mailbox, in order.

use std::collections::VecDeque;

use super::sender::Delivery;
use crate::message::Message;

/// Most mailboxes hold nothing, and of the others most hold one message: that one has a place of its own, and the
/// list exists only while there are more. So an idle mailbox is small, and a message to a hundred thousand members
/// takes no memory from the allocator (which measured eighteen times as slow: it cannot keep up with a hundred
/// thousand small pieces that come and go).
#[derive(Default)]
pub(super) struct Items {
    /// The oldest, unless it was taken while others waited.
    first: Option<Delivery>,
    /// Never empty itself.
    #[expect(clippy::box_collection, reason = "a list that is not there takes a quarter of the place")]
    rest: Option<Box<VecDeque<Delivery>>>,
}

impl Items {
    /// Adds one, with room for as many `more` as may follow it at once.
    pub(super) fn push(&mut self, delivery: Delivery, more: usize) {
        if self.rest.is_none() && self.first.is_none() {
            self.first = Some(delivery);
            return;
        }
        let rest = self.rest.get_or_insert_default();
        rest.reserve(1 + more);
        rest.push_back(delivery);
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let oldest = self.rest.as_mut()?.pop_front();
        self.shrink();
        oldest
    }

    pub(super) fn oldest(&self) -> Option<&Delivery> {
        self.first.as_ref().or_else(|| self.rest.as_ref()?.front())
    }

    /// Takes out the first one that `matches`.
    pub(super) fn remove(&mut self, matches: impl Fn(&Delivery) -> bool) -> Option<Delivery> {
        if let Some(first) = self.first.take_if(|first| matches(first)) {
            return Some(first);
        }
        let rest = self.rest.as_mut()?;
        let at = rest.iter().position(matches)?;
        let removed = rest.remove(at);
        self.shrink();
        removed
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    /// All messages, in order. In two steps, each of known length: a chain of the two is slower by a tenth.
    pub(super) fn append_to(self, messages: &mut Vec<Message>) {
        messages.extend(self.first.map(|delivery| delivery.message));
        if let Some(rest) = self.rest {
            messages.extend(rest.into_iter().map(|delivery| delivery.message));
        }
    }

    fn shrink(&mut self) {
        self.rest.take_if(|rest| rest.is_empty());
    }
}
