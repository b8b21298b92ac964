//! One message to many mailboxes, in slices.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Hub, SLICE, totals::Totals, walk::Walk};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::{Delivery, MailboxSender, Refusal},
    message::Message,
};

/// Members served for one unit of the task's budget, of which tokio gives it 128 at a time: whoever sends message after
/// message gives the others a turn after about two thousand deliveries, long before mailboxes are full.
const MEMBERS_PER_UNIT: usize = 16;

/// A message on its way to all members of some groups. Each [`step`](Self::step) serves a slice of them.
///
/// No map is locked while it is under way, and no member is looked up by name.
#[derive(Debug)]
pub struct FanOut {
    walk: Walk,
    delivery: Delivery,
    deliveries: Deliveries,
    totals: Arc<Totals>,
}

impl Hub {
    /// Starts to send a message to all members of an audience here; it goes on by [`FanOut::step`].
    pub fn fan_out(&self, to: &Audience, message: Message, expires: Instant) -> FanOut {
        let delivery = Delivery { message, expires };
        FanOut { walk: self.walk(to), delivery, deliveries: Deliveries::default(), totals: self.totals() }
    }

    /// Sends a message to all members of an audience here, and gives other tasks a turn between thousands: of the
    /// members of a large group, and of the deliveries of a task that sends one message after the other.
    ///
    /// Dropped half-way, it may have reached some.
    pub async fn broadcast(&self, to: &Audience, message: Message, expires: Instant) -> Deliveries {
        let mut fan_out = self.fan_out(to, message, expires);
        while fan_out.step() {
            tokio::task::yield_now().await;
        }
        let deliveries = fan_out.deliveries();
        for _ in 0..(deliveries.matched % SLICE).div_ceil(MEMBERS_PER_UNIT) {
            tokio::task::consume_budget().await;
        }
        deliveries
    }
}

impl FanOut {
    /// Serves a slice; false once all are served.
    pub fn step(&mut self) -> bool {
        let Self { walk, delivery, deliveries, .. } = self;
        walk.step(SLICE, |member| serve(member, delivery, deliveries))
    }

    /// Serves all that are left, without a pause.
    pub fn finish(mut self) -> Deliveries {
        while self.step() {}
        self.deliveries
    }

    /// What has been done so far.
    pub fn deliveries(&self) -> Deliveries {
        self.deliveries
    }
}

fn serve(member: &MailboxSender, delivery: &Delivery, deliveries: &mut Deliveries) {
    deliveries.matched += 1;
    match member.deliver(delivery.clone()) {
        Ok(()) => deliveries.delivered += 1,
        Err(Refusal::Closed) => deliveries.closed += 1,
        Err(Refusal::Full) => deliveries.full += 1,
    }
}

/// However it ends, also half-way, what it did is accounted for.
impl Drop for FanOut {
    fn drop(&mut self) {
        self.totals.account(&self.deliveries);
    }
}
