//! Messages that go to the same mailboxes together, and are shared by all of them.

use std::{any::Any, fmt, sync::Arc};

use super::delivery::Delivery;
use crate::{derived::Derived, message::Message};

/// Messages that were sent to the same members in one go. Clones share them.
#[derive(Clone)]
pub struct Burst(Arc<SharedBurst>);

struct SharedBurst {
    deliveries: Box<[Delivery]>,
    /// The sum of the messages' sizes.
    bytes: usize,
    derived: Derived,
}

impl Burst {
    pub(crate) fn new(deliveries: Vec<Delivery>) -> Self {
        let bytes = deliveries.iter().map(|delivery| delivery.message.size()).sum();
        Self(Arc::new(SharedBurst { deliveries: deliveries.into(), bytes, derived: Derived::default() }))
    }

    /// Returns the messages, in the order in which they were sent.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.0.deliveries.iter().map(|delivery| &delivery.message)
    }

    /// Returns the value that `make` makes of these messages. It is made at most once per type and kept as long as the
    /// burst, for all mailboxes that hold it: the frames of all messages, joined, for example.
    ///
    /// `make` must not ask the same burst for the same `T`: it would wait for itself.
    pub fn derived<T, F>(&self, make: F) -> &T
    where
        T: Any + Send + Sync,
        F: FnOnce(&Self) -> T,
    {
        self.0.derived.get_or_make(|| make(self))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.deliveries.len()
    }

    pub(crate) fn deliveries(&self) -> &[Delivery] {
        &self.0.deliveries
    }
}

/// The messages of a [`Burst`] that are in one mailbox: without those that the mailbox was not meant to get, those
/// received before, and those that expired.
#[derive(Clone)]
pub struct BurstPart {
    burst: Burst,
    /// A bit per message. Never zero while the part is in a mailbox.
    left: u64,
}

impl BurstPart {
    /// Selects the messages of a burst but for those at `skipped`. `None` if there are more than fit into the bits.
    pub(super) fn new(burst: &Burst, skipped: &[usize]) -> Option<Self> {
        let unused = u64::BITS.checked_sub(u32::try_from(burst.len()).ok()?)?;
        let all = u64::MAX.checked_shr(unused).unwrap_or_default();
        let left = skipped.iter().fold(all, |left, position| left & !(1 << position));
        Some(Self { burst: burst.clone(), left })
    }

    /// Returns the messages, in the order in which they were sent.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.positions().map(|position| &self.burst.deliveries()[position].message)
    }

    /// Returns the burst if none of its messages is missing in this part.
    pub fn whole(&self) -> Option<&Burst> {
        (self.len() == self.burst.len()).then_some(&self.burst)
    }

    pub(super) fn len(&self) -> usize {
        self.left.count_ones() as usize
    }

    pub(super) fn bytes(&self) -> usize {
        match self.whole() {
            Some(burst) => burst.0.bytes,
            None => self.messages().map(Message::size).sum(),
        }
    }

    pub(super) fn oldest(&self) -> Option<&Delivery> {
        let position = self.positions().next()?;
        Some(&self.burst.deliveries()[position])
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let oldest = self.oldest()?.clone();
        self.left &= self.left - 1;
        Some(oldest)
    }

    fn positions(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.left;
        std::iter::from_fn(move || {
            let position = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(position)
        })
    }
}

/// Shows the number of messages, never the contents.
impl fmt::Debug for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Burst").field("len", &self.len()).field("bytes", &self.0.bytes).finish()
    }
}

impl fmt::Debug for BurstPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BurstPart").field("burst", &self.burst).field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests;
