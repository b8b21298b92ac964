//! Flat combining: a message to all members of some groups, while other tasks send to the same.
//!
//! Two threads that visit the same members at once meet at every mailbox, which measured three times slower than one thread
//! alone. So there is one run over a shard at a time, and what is sent during it is queued for the next one.

use std::{collections::VecDeque, mem, sync::Arc};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{consume_budget, yield_now},
    time::Instant,
};

use super::{
    cooperative::{SLICE, run_sliced},
    fan_out::FanOut,
    group::{Group, GroupSend, QueuedSends, SHARDS},
    index::Hub,
    member_cursor::MemberCursor,
};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::Delivery,
    message::Message,
    sync::lock,
};

/// Deliveries for one unit of a task's budget, of which tokio gives it 128 at a time: a task that sends message after
/// message gives the others a turn after about two thousand deliveries, long before mailboxes are full.
const PER_UNIT: usize = 16;

impl Hub {
    /// Sends a message to all members of an audience here, and gives other tasks a turn between thousands of deliveries:
    /// those to a large group, and those of a task that sends one message after the other.
    ///
    /// Messages that many tasks send to one group at once go out together. A large group is served by a task of
    /// tokio's, as are callers that had to wait, where there is a runtime.
    ///
    /// If the future is dropped, the message may have reached some members, and may yet reach others.
    pub async fn broadcast(&self, to: &Audience, message: Message, expires: Instant) -> Deliveries {
        let Some(group) = to.only_group() else { return self.broadcast_to_all(to, message, expires).await };
        let Some(group) = self.group(group) else { return Deliveries::default() };
        let send = ShardSend { hub: self, group: &group, to, delivery: Delivery { message, expires } };
        let mut made = Deliveries::default();
        // All shards first, and only then a wait. One sender's messages keep their order in each; those of several senders
        // may differ between shards.
        let mut pending = [const { None }; SHARDS];
        for (shard, pending) in pending.iter_mut().enumerate() {
            *pending = send.start(shard, &mut made);
        }
        give_turns(made.matched).await;
        for (shard, mut pending) in pending.into_iter().enumerate() {
            while let Some(outcome) = pending.take() {
                match outcome.await {
                    Ok(deliveries) => made += deliveries,
                    // The runtime of the runner has ended before the message's turn: it needs another runner.
                    Err(_) => pending = send.start(shard, &mut made),
                }
            }
        }
        made
    }

    async fn broadcast_to_all(&self, to: &Audience, message: Message, expires: Instant) -> Deliveries {
        let mut fan_out = self.fan_out(to, message, expires);
        while fan_out.step() {
            yield_now().await;
        }
        give_turns(fan_out.deliveries().matched % SLICE).await;
        fan_out.deliveries()
    }
}

async fn give_turns(deliveries: usize) {
    for _ in 0..deliveries.div_ceil(PER_UNIT) {
        consume_budget().await;
    }
}

/// A message on its way to the shards of a group.
struct ShardSend<'a> {
    hub: &'a Hub,
    group: &'a Arc<Group>,
    to: &'a Audience,
    delivery: Delivery,
}

impl ShardSend<'_> {
    /// Serves a shard, and adds to `made`; or queues, and returns the outcome to come.
    fn start(&self, shard: usize, made: &mut Deliveries) -> Option<oneshot::Receiver<Deliveries>> {
        let mut outcome = None;
        let send = || {
            let (on_done, receiver) = oneshot::channel();
            outcome = Some(receiver);
            let except = self.to.excepted().cloned();
            GroupSend { delivery: self.delivery.clone(), except, on_done: Some(on_done) }
        };
        match Combiner::new(self.group.queued(shard)).enter(self.group.is_small(shard), send) {
            Entry::Run(run) => *made += self.serve(shard, run),
            Entry::Queued => {}
            Entry::RunnerNeeded => Runner::start(self.hub, self.group, shard),
        }
        outcome
    }

    /// Serves a shard without a pause: a caller that is not polled any more must not keep others waiting.
    fn serve(&self, shard: usize, run: Run<'_>) -> Deliveries {
        let cursor = MemberCursor::new_in_shard(self.group.clone(), shard);
        let fan_out = self.hub.fan_out_one(cursor, self.to.excepted(), self.delivery.clone());
        let deliveries = fan_out.finish();
        if !run.finish() {
            Runner::start(self.hub, self.group, shard);
        }
        deliveries
    }
}

/// Serves a shard for all callers that are queued.
struct Runner {
    hub: Hub,
    group: Arc<Group>,
    shard: usize,
    fan_out: Option<FanOut>,
    is_done: bool,
}

impl Runner {
    fn start(hub: &Hub, group: &Arc<Group>, shard: usize) {
        let mut runner =
            Self { hub: hub.clone(), group: group.clone(), shard, fan_out: None, is_done: false };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(runner.run())),
            Err(_) => while runner.step().is_some() {},
        }
    }

    async fn run(mut self) {
        run_sliced(|| self.step()).await;
    }

    /// Serves a slice and returns its number of deliveries, or `None` if the queue is empty.
    fn step(&mut self) -> Option<usize> {
        let fan_out = match &mut self.fan_out {
            Some(fan_out) => fan_out,
            None => {
                let sends = Combiner::new(self.group.queued(self.shard)).take(FanOut::TOGETHER);
                self.is_done = sends.is_empty();
                if self.is_done {
                    return None;
                }
                let cursor = MemberCursor::new_in_shard(self.group.clone(), self.shard);
                self.fan_out.insert(self.hub.fan_out_from(cursor, sends))
            }
        };
        let before = fan_out.tried();
        let more = fan_out.step();
        let made = fan_out.tried() - before;
        if !more {
            self.fan_out = None;
        }
        Some(made)
    }
}

/// A runner may be dropped before its time, with its runtime.
impl Drop for Runner {
    fn drop(&mut self) {
        if !self.is_done {
            Combiner::new(self.group.queued(self.shard)).abandon();
        }
    }
}

/// The senders to one shard: what they queue is kept with its members.
#[derive(Clone, Copy)]
pub(super) struct Combiner<'a>(&'a QueuedSends);

/// The part of a caller that enters.
pub(super) enum Entry<'a> {
    /// The caller runs at once.
    Run(Run<'a>),
    /// The run under way takes what the caller has queued.
    Queued,
    /// The caller has queued, and has to start a runner: there is none.
    RunnerNeeded,
}

/// A run of the caller. Dropped unfinished, by a panic of a waker or of a subscriber of `tracing`, it abandons what is
/// queued, so that nothing waits for a run that never comes.
pub(super) struct Run<'a>(Option<Combiner<'a>>);

impl<'a> Combiner<'a> {
    pub(super) fn new(queue: &'a QueuedSends) -> Self {
        Self(queue)
    }

    /// Enters: runs if there is no run and the caller `can`, otherwise queues.
    pub(super) fn enter(self, can: bool, item: impl FnOnce() -> GroupSend) -> Entry<'a> {
        let mut queue = lock(self.0);
        match &mut *queue {
            Some(queued) => {
                queued.push_back(item());
                Entry::Queued
            }
            None if can => {
                *queue = Some(VecDeque::new());
                Entry::Run(Run(Some(self)))
            }
            None => {
                *queue = Some(VecDeque::from([item()]));
                Entry::RunnerNeeded
            }
        }
    }

    /// Takes what is queued, up to `most`. An empty list ends the run.
    pub(super) fn take(self, most: usize) -> Vec<GroupSend> {
        let mut queue = lock(self.0);
        let Some(queued) = &mut *queue else { return Vec::new() };
        let taken: Vec<_> = queued.drain(..queued.len().min(most)).collect();
        if taken.is_empty() {
            *queue = None;
        }
        taken
    }

    /// Ends a run before its time. Those that wait see the end of their channels.
    pub(super) fn abandon(self) {
        let waste = mem::take(&mut *lock(self.0));
        drop(waste); // what it drops may be anything: not under the lock
    }
}

impl Run<'_> {
    /// Ends the run. False if something is queued: a runner is needed.
    pub(super) fn finish(mut self) -> bool {
        let Some(combiner) = self.0.take() else { return true };
        lock(combiner.0).take_if(|queued| queued.is_empty()).is_some()
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Some(combiner) = self.0 {
            combiner.abandon();
        }
    }
}
