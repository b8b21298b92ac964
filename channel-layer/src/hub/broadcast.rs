//! A message to all members, while others do the same.

use std::{mem, sync::Arc};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{consume_budget, yield_now},
    time::Instant,
};

use super::{
    Hub, SLICE,
    burst::{Burst, Post},
    group::Group,
    line::{Entered, Line},
    turns::in_turns,
};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::Delivery,
    message::Message,
};

/// Deliveries for one unit of a task's budget, of which tokio gives it 128 at a time: whoever sends message after
/// message gives the others a turn after about two thousand deliveries, long before mailboxes are full.
const PER_UNIT: usize = 16;

impl Hub {
    /// Sends a message to all members of an audience here, and gives other tasks a turn between thousands: of the
    /// members of a large group, and of the deliveries of a task that sends one message after the other.
    ///
    /// Messages that many tasks send to one group at once go out together. A large group is served by a task of
    /// tokio's, as are those who had to wait, where there is a runtime.
    ///
    /// Dropped half-way, it may have reached some, or will.
    pub async fn broadcast(&self, to: &Audience, message: Message, expires: Instant) -> Deliveries {
        let Some(group) = to.only_group() else { return self.broadcast_to_all(to, message, expires).await };
        let Some(group) = self.group(group) else { return Deliveries::default() };
        let delivery = Delivery { message, expires };
        loop {
            let mut outcome = None;
            let post = || {
                let (told, back) = oneshot::channel();
                outcome = Some(back);
                Post { delivery: delivery.clone(), except: to.excepted().cloned(), told: Some(told) }
            };
            match group.line.enter(group.is_small(), post) {
                Entered::Caller => return self.walk_over(&group, to, delivery).await,
                Entered::Other => {}
                Entered::Nobody => Walker::start(self, &group),
            }
            // Otherwise the walker's runtime has ended before the message's turn: somebody else has to walk.
            if let Some(outcome) = outcome
                && let Ok(deliveries) = outcome.await
            {
                return deliveries;
            }
        }
    }

    async fn broadcast_to_all(&self, to: &Audience, message: Message, expires: Instant) -> Deliveries {
        let mut fan_out = self.fan_out(to, message, expires);
        while fan_out.step() {
            yield_now().await;
        }
        give_turns(fan_out.deliveries().matched % SLICE).await;
        fan_out.deliveries()
    }

    /// Walks without a pause: a caller that is not polled any more must not keep others waiting.
    async fn walk_over(&self, group: &Arc<Group>, to: &Audience, delivery: Delivery) -> Deliveries {
        let walking = Walking(&group.line);
        let deliveries = self.fan_out_to(group.clone(), to.excepted(), delivery).finish();
        mem::forget(walking);
        if !group.line.leave() {
            Walker::start(self, group);
        }
        give_turns(deliveries.matched).await;
        deliveries
    }
}

/// A waker or a subscriber of `tracing` that panics must not leave a line that nobody looks at.
struct Walking<'a>(&'a Line);

impl Drop for Walking<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

async fn give_turns(deliveries: usize) {
    for _ in 0..deliveries.div_ceil(PER_UNIT) {
        consume_budget().await;
    }
}

/// Walks over a group for all who wait in its line.
struct Walker {
    hub: Hub,
    group: Arc<Group>,
    burst: Option<Burst>,
    has_left: bool,
}

impl Walker {
    fn start(hub: &Hub, group: &Arc<Group>) {
        let mut walker = Self { hub: hub.clone(), group: group.clone(), burst: None, has_left: false };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(walker.run())),
            Err(_) => while walker.step().is_some() {},
        }
    }

    async fn run(mut self) {
        in_turns(|| self.step()).await;
    }

    /// Serves a slice, of so many deliveries; nothing if nobody waits.
    fn step(&mut self) -> Option<usize> {
        let burst = match &mut self.burst {
            Some(burst) => burst,
            None => {
                let posts = self.group.line.take();
                self.has_left = posts.is_empty();
                if self.has_left {
                    return None;
                }
                self.burst.insert(self.hub.burst_to(Some(self.group.clone()), posts))
            }
        };
        let before = burst.deliveries();
        let more = burst.step();
        let made = burst.deliveries() - before;
        if !more {
            self.burst = None;
        }
        Some(made)
    }
}

/// With its runtime, perhaps, before its time.
impl Drop for Walker {
    fn drop(&mut self) {
        if !self.has_left {
            self.group.line.abandon();
        }
    }
}

#[cfg(test)]
mod tests;
