//! A message to all members of some groups, while other tasks send to the same.

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{consume_budget, yield_now},
    time::Instant,
};

use super::{
    combining::{Entry, Run},
    cooperative::{SLICE, run_sliced},
    cursor::MemberCursor,
    fan_out::FanOut,
    group::{Group, GroupSend, SHARDS},
    index::Hub,
};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::Delivery,
    message::Message,
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
        // All shards first: the order among messages is the same in each.
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
        match self.group.combiner(shard).enter(self.group.is_small(shard), send) {
            Entry::Run(run) => *made += self.serve(shard, run),
            Entry::Queued => {}
            Entry::RunnerNeeded => Runner::start(self.hub, self.group, shard),
        }
        outcome
    }

    /// Serves a shard without a pause: a caller that is not polled any more must not keep others waiting.
    fn serve(&self, shard: usize, run: Run<'_, GroupSend>) -> Deliveries {
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
                let sends = self.group.combiner(self.shard).take(FanOut::TOGETHER);
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
            self.group.combiner(self.shard).abandon();
        }
    }
}
