//! Messages that have come in, on their way to the mailboxes of this process.
//!
//! The task of the link only [queues](InboundQueue::push) a message and goes on reading; a task beside it hands it out.
//! So messages that came in together reach each member of their group together, members get their turn in between, and
//! a large group does not delay replies and heartbeats.

use std::{
    collections::VecDeque,
    fmt, mem,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use tokio::sync::oneshot;

use super::counters::{Count, Counters};
use crate::{
    hub::{FanOut, GroupSend, Hub, run_sliced},
    layer::{Audience, Deliveries},
    mailbox::Delivery,
    name::{ChannelName, GroupName},
    sync::{Mutex, MutexGuard, lock},
};

/// The bounds of the queue, in messages and in bytes of their values. Beyond either, the task of the link hands out
/// messages itself and reads nothing meanwhile: the server waits.
const MESSAGES: usize = 8192;
const BYTES: usize = 8 << 20;

/// The queue of one shard.
#[derive(Debug)]
pub(super) struct InboundQueue {
    hub: Hub,
    counters: Arc<Counters>,
    /// Held to put in or take out, by the link's task and the one beside it.
    waiting: Mutex<InboundBacklog>,
    /// Held while a slice is handed out, so that the two tasks keep the order. Taken before `waiting`.
    turn: Mutex<Option<FanOut>>,
}

/// A message or a request that has come in.
pub(super) enum Arriving {
    /// A message to a group.
    Group(GroupName, GroupSend),
    /// A message to several, to each member once.
    Groups(Audience, GroupSend),
    /// A message to one mailbox.
    Channel(ChannelName, Delivery),
    /// An action that has to follow all earlier messages. It must not wait.
    Other(Box<dyn FnOnce() + Send>),
}

#[derive(Default)]
struct InboundBacklog {
    queue: VecDeque<Arriving>,
    bytes: usize,
    /// Whether a task will check again.
    attended: bool,
}

impl InboundQueue {
    pub(super) fn new(hub: Hub, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { hub, counters, waiting: Mutex::default(), turn: Mutex::default() })
    }

    /// Queues a message behind all earlier ones. Does not wait; while too much is queued, hands out slices itself.
    pub(super) fn push(self: &Arc<Self>, arrival: Arriving) {
        let mut waiting = self.waiting();
        waiting.push(arrival);
        let too_much = waiting.is_too_much();
        let attended = mem::replace(&mut waiting.attended, true);
        drop(waiting);
        if !attended {
            tokio::spawn(self.clone().hand_out());
        }
        if too_much {
            while self.step_or_skip().is_some() && self.waiting().is_too_much() {}
        }
    }

    /// Hands out until the queue is empty: a task per burst, not one for the life of the link.
    async fn hand_out(self: Arc<Self>) {
        run_sliced(|| self.step_or_skip()).await;
    }

    /// Hands out a slice. A waker, or an observer of the application, that panics ends its message only: later ones are handed
    /// out.
    fn step_or_skip(&self) -> Option<usize> {
        let skip = |_| {
            tracing::error!("a panic while a message was handed out: some may have missed it");
            self.turn().take();
            Some(1)
        };
        panic::catch_unwind(AssertUnwindSafe(|| self.step())).unwrap_or_else(skip)
    }

    /// Hands out a slice. Returns the number of deliveries, or `None` if the queue is empty.
    fn step(&self) -> Option<usize> {
        let mut turn = self.turn();
        if turn.is_none() {
            let next = self.waiting().next()?;
            *turn = self.begin(next);
        }
        let Some(fan_out) = &mut *turn else { return Some(1) };
        let before = fan_out.tried();
        let more = fan_out.step();
        let made = fan_out.tried() - before;
        if !more {
            self.counters.add(Count::Full, fan_out.deliveries().full as u64);
            *turn = None;
        }
        Some(made)
    }

    /// Starts a fan-out, or returns `None` if the message was delivered at once.
    fn begin(&self, arrival: Arriving) -> Option<FanOut> {
        match arrival {
            Arriving::Group(group, first) => {
                let sends = self.waiting().take_alike(&group, first);
                return Some(self.hub.fan_out_all([&group], sends));
            }
            Arriving::Groups(to, send) => return Some(self.hub.fan_out_all(to.groups(), vec![send])),
            Arriving::Channel(channel, delivery) => {
                let refused = matches!(self.hub.send(&channel, delivery), Some(Err(_)));
                self.counters.add(Count::Full, u64::from(refused));
            }
            Arriving::Other(act) => act(),
        }
        None
    }

    fn turn(&self) -> MutexGuard<'_, Option<FanOut>> {
        lock(&self.turn)
    }

    fn waiting(&self) -> MutexGuard<'_, InboundBacklog> {
        lock(&self.waiting)
    }
}

impl InboundBacklog {
    fn push(&mut self, arrival: Arriving) {
        self.bytes += arrival.size();
        self.queue.push_back(arrival);
    }

    fn is_too_much(&self) -> bool {
        self.queue.len() > MESSAGES || self.bytes > BYTES
    }

    /// Takes the oldest. `None` means that no task will check again, and the memory is freed.
    fn next(&mut self) -> Option<Arriving> {
        let next = self.queue.pop_front();
        match &next {
            Some(arrival) => self.bytes -= arrival.size(),
            None => *self = Self::default(),
        }
        next
    }

    /// Takes the messages that directly follow and are for the same group.
    fn take_alike(&mut self, group: &GroupName, first: GroupSend) -> Vec<GroupSend> {
        let is_alike = |next: &Arriving| matches!(next, Arriving::Group(other, _) if other == group);
        let mut sends = vec![first];
        while sends.len() < FanOut::TOGETHER && self.queue.front().is_some_and(is_alike) {
            if let Some(Arriving::Group(_, send)) = self.next() {
                sends.push(send);
            }
        }
        sends
    }
}

impl Arriving {
    /// A message to an audience.
    pub(super) fn to(
        audience: Audience,
        delivery: Delivery,
        on_done: Option<oneshot::Sender<Deliveries>>,
    ) -> Self {
        let send = GroupSend { delivery, except: audience.excepted().cloned(), on_done };
        match audience.only_group() {
            Some(group) => Self::Group(group.clone(), send),
            None => Self::Groups(audience, send),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Group(_, GroupSend { delivery, .. })
            | Self::Groups(_, GroupSend { delivery, .. })
            | Self::Channel(_, delivery) => delivery.message.size(),
            Self::Other(_) => 0,
        }
    }
}

impl fmt::Debug for InboundBacklog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundBacklog")
            .field("queue", &self.queue.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests;
