//! The queue of inbound messages, which delivers them to the mailboxes of this process.
//!
//! The task of the link only [queues](InboundQueue::push) a message and continues to read. A separate task delivers
//! it, in slices. So messages that come in together reach each member of their group together, members run in between,
//! and a large group does not delay replies and heartbeats.

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

/// The bounds of the queue, in messages and in bytes of their values. Beyond either, the task of the link delivers
/// messages itself and does not read meanwhile, so that the server waits.
const MESSAGES: usize = 8192;
const BYTES: usize = 8 << 20;

/// The queue of one shard.
#[derive(Debug)]
pub(super) struct InboundQueue {
    hub: Hub,
    counters: Arc<Counters>,
    /// Held to add or take an item, by the link's task and the delivering task.
    backlog: Mutex<InboundBacklog>,
    /// The fan-out in progress. Held while a slice is delivered, so that the two tasks keep the order. Locked before
    /// `backlog`.
    current: Mutex<Option<FanOut>>,
}

/// An inbound message or request.
pub(super) enum InboundItem {
    /// A message to a group.
    Group(GroupName, GroupSend),
    /// A message to several groups, delivered to each member once.
    Groups(Audience, GroupSend),
    /// A message to one mailbox.
    Channel(ChannelName, Delivery),
    /// An action that must follow all earlier messages. It must not wait.
    Action(Box<dyn FnOnce() + Send>),
}

#[derive(Default)]
struct InboundBacklog {
    queue: VecDeque<InboundItem>,
    bytes: usize,
    /// Set while a task delivers, which will check the queue again.
    is_delivering: bool,
}

impl InboundQueue {
    pub(super) fn new(hub: Hub, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { hub, counters, backlog: Mutex::default(), current: Mutex::default() })
    }

    /// Queues a message behind all earlier ones. Does not wait. While the queue is too long, it delivers slices itself.
    pub(super) fn push(self: &Arc<Self>, item: InboundItem) {
        let mut backlog = self.backlog();
        backlog.push(item);
        let is_too_long = backlog.is_too_long();
        let is_delivering = mem::replace(&mut backlog.is_delivering, true);
        drop(backlog);
        if !is_delivering {
            tokio::spawn(self.clone().deliver_all());
        }
        if is_too_long {
            while self.step_or_skip().is_some() && self.backlog().is_too_long() {}
        }
    }

    /// Delivers until the queue is empty. There is a task for each burst, not for the life of the link.
    async fn deliver_all(self: Arc<Self>) {
        run_sliced(|| self.step_or_skip()).await;
    }

    /// Delivers a slice. A panic of a waker, or of an observer of the application, ends only its message.
    fn step_or_skip(&self) -> Option<usize> {
        let skip = |_| {
            tracing::error!("a panic during a delivery: some members may have missed the message");
            self.current().take();
            Some(1)
        };
        panic::catch_unwind(AssertUnwindSafe(|| self.step())).unwrap_or_else(skip)
    }

    /// Delivers a slice. Returns the number of deliveries, or `None` if the queue is empty.
    fn step(&self) -> Option<usize> {
        let mut current = self.current();
        if current.is_none() {
            let next = self.backlog().next()?;
            *current = self.begin(next);
        }
        let Some(fan_out) = &mut *current else { return Some(1) };
        let before = fan_out.tried();
        let more = fan_out.step();
        let made = fan_out.tried() - before;
        if !more {
            self.counters.add(Count::Full, fan_out.deliveries().full as u64);
            *current = None;
        }
        Some(made)
    }

    /// Starts a fan-out, or returns `None` if the message was delivered at once.
    fn begin(&self, item: InboundItem) -> Option<FanOut> {
        match item {
            InboundItem::Group(group, first) => {
                let sends = self.backlog().take_same_group(&group, first);
                return Some(self.hub.fan_out_all([&group], sends));
            }
            InboundItem::Groups(to, send) => return Some(self.hub.fan_out_all(to.groups(), vec![send])),
            InboundItem::Channel(channel, delivery) => {
                let refused = matches!(self.hub.send(&channel, delivery), Some(Err(_)));
                self.counters.add(Count::Full, u64::from(refused));
            }
            InboundItem::Action(act) => act(),
        }
        None
    }

    fn current(&self) -> MutexGuard<'_, Option<FanOut>> {
        lock(&self.current)
    }

    fn backlog(&self) -> MutexGuard<'_, InboundBacklog> {
        lock(&self.backlog)
    }
}

impl InboundBacklog {
    fn push(&mut self, item: InboundItem) {
        self.bytes += item.size();
        self.queue.push_back(item);
    }

    fn is_too_long(&self) -> bool {
        self.queue.len() > MESSAGES || self.bytes > BYTES
    }

    /// Takes the oldest item. Returns `None` if the queue is empty. Then its memory is freed, and no task will check
    /// again.
    fn next(&mut self) -> Option<InboundItem> {
        let next = self.queue.pop_front();
        match &next {
            Some(item) => self.bytes -= item.size(),
            None => *self = Self::default(),
        }
        next
    }

    /// Takes the directly following messages to the same group.
    fn take_same_group(&mut self, group: &GroupName, first: GroupSend) -> Vec<GroupSend> {
        let is_same_group =
            |next: &InboundItem| matches!(next, InboundItem::Group(other, _) if other == group);
        let mut sends = vec![first];
        while sends.len() < FanOut::TOGETHER && self.queue.front().is_some_and(is_same_group) {
            if let Some(InboundItem::Group(_, send)) = self.next() {
                sends.push(send);
            }
        }
        sends
    }
}

impl InboundItem {
    /// A message to an audience.
    pub(super) fn new(
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
            Self::Action(_) => 0,
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
