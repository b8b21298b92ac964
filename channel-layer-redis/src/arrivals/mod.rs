//! What has come in, on its way to the mailboxes of this process.
//!
//! The connection's own task only [queues](Arrivals::push) it and goes on reading; a task beside it hands it out. So
//! messages that came in together go to each member of their group together, members get their turn in between, and a
//! large group does not keep replies and heartbeats waiting.

use std::{
    collections::VecDeque,
    fmt, mem,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use channel_layer::{
    Audience, ChannelName, Deliveries, GroupName,
    hub::{Burst, Hub, Post, in_turns},
    mailbox::Delivery,
};
use tokio::sync::oneshot;

use crate::stats::{Count, Counters};

/// So much may wait, in messages and in bytes of their values. Beyond that the connection's task hands out itself, and
/// meanwhile reads nothing: Redis is the one that waits.
const MESSAGES: usize = 8192;
const BYTES: usize = 8 << 20;

/// The queue of one link.
#[derive(Debug)]
pub(crate) struct Arrivals {
    hub: Hub,
    counters: Arc<Counters>,
    /// Held to put in or take out, by the connection's task and the one beside it.
    waiting: Mutex<Waiting>,
    /// Held while a slice is handed out, so that two who do so keep the order. Taken before `waiting`.
    turn: Mutex<Option<Burst>>,
}

/// Something that came in.
pub(crate) enum Arrival {
    /// A message to a group.
    Group(GroupName, Post),
    /// A message to several, to each member once.
    Groups(Audience, Post),
    /// A message to one mailbox.
    Channel(ChannelName, Delivery),
    /// What has to wait for all that came before it. It must not wait itself.
    Other(Box<dyn FnOnce() + Send>),
}

#[derive(Default)]
struct Waiting {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
    /// There is a task that will look again.
    attended: bool,
}

impl Arrivals {
    pub(crate) fn new(hub: Hub, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { hub, counters, waiting: Mutex::default(), turn: Mutex::default() })
    }

    /// Queues something behind all that came before. Waits for nothing, but for a slice at a time when too much waits.
    pub(crate) fn push(self: &Arc<Self>, arrival: Arrival) {
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

    /// Until nothing waits: a task per burst, not one that sits there for as long as the link lives.
    async fn hand_out(self: Arc<Self>) {
        in_turns(|| self.step_or_skip()).await;
    }

    /// A waker, or an observer of the application's, that panics must not silence the link: what it was at is over, and what
    /// comes after is handed out.
    fn step_or_skip(&self) -> Option<usize> {
        let skip = |_| {
            tracing::error!("a panic while a message was handed out: some may have missed it");
            self.turn().take();
            Some(1)
        };
        panic::catch_unwind(AssertUnwindSafe(|| self.step())).unwrap_or_else(skip)
    }

    /// Hands out a slice, of so many deliveries; nothing if nothing is left.
    fn step(&self) -> Option<usize> {
        let mut turn = self.turn();
        if turn.is_none() {
            let next = self.waiting().next()?;
            *turn = self.begin(next);
        }
        let Some(burst) = &mut *turn else { return Some(1) };
        let before = burst.deliveries();
        let more = burst.step();
        let made = burst.deliveries() - before;
        if !more {
            burst.outcomes().for_each(|outcome| self.counters.add(Count::Full, outcome.full as u64));
            *turn = None;
        }
        Some(made)
    }

    /// A burst to hand out, unless it was carried out at once.
    fn begin(&self, arrival: Arrival) -> Option<Burst> {
        match arrival {
            Arrival::Group(group, first) => {
                let posts = self.waiting().take_alike(&group, first);
                return Some(self.hub.burst(&group, posts));
            }
            Arrival::Groups(to, Post { delivery: Delivery { message, expires }, told, .. }) => {
                let outcome = self.hub.fan_out(&to, message, expires).finish();
                self.counters.add(Count::Full, outcome.full as u64);
                if let Some(told) = told {
                    let _ = told.send(outcome); // its sender may have gone
                }
            }
            Arrival::Channel(channel, delivery) => {
                let refused = matches!(self.hub.send(&channel, delivery), Some(Err(_)));
                self.counters.add(Count::Full, u64::from(refused));
            }
            Arrival::Other(act) => act(),
        }
        None
    }

    fn turn(&self) -> MutexGuard<'_, Option<Burst>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here is left half done by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, arrival: Arrival) {
        self.bytes += arrival.size();
        self.arrivals.push_back(arrival);
    }

    fn is_too_much(&self) -> bool {
        self.arrivals.len() > MESSAGES || self.bytes > BYTES
    }

    /// Nothing: then nobody will look again, and the queue's memory goes.
    fn next(&mut self) -> Option<Arrival> {
        let next = self.arrivals.pop_front();
        match &next {
            Some(arrival) => self.bytes -= arrival.size(),
            None => *self = Self::default(),
        }
        next
    }

    /// Takes those that directly follow and are for the same group.
    fn take_alike(&mut self, group: &GroupName, first: Post) -> Vec<Post> {
        let is_alike = |next: &Arrival| matches!(next, Arrival::Group(other, _) if other == group);
        let mut posts = vec![first];
        while posts.len() < Burst::TOGETHER && self.arrivals.front().is_some_and(is_alike) {
            if let Some(Arrival::Group(_, post)) = self.next() {
                posts.push(post);
            }
        }
        posts
    }
}

impl Arrival {
    /// To everybody in the audience.
    pub(crate) fn to(
        audience: Audience,
        delivery: Delivery,
        told: Option<oneshot::Sender<Deliveries>>,
    ) -> Self {
        let post = Post { delivery, except: audience.excepted().cloned(), told };
        match audience.only_group() {
            Some(group) => Self::Group(group.clone(), post),
            None => Self::Groups(audience, post),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Group(_, Post { delivery, .. })
            | Self::Groups(_, Post { delivery, .. })
            | Self::Channel(_, delivery) => delivery.message.size(),
            Self::Other(_) => 0,
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("arrivals", &self.arrivals.len()).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests;
