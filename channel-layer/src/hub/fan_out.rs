//! One message to many mailboxes, in slices.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Hub, SLICE, group::Group, totals::Totals, walk::Walk};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::{Delivery, MailboxSender, Refusal},
    message::Message,
    name::ChannelName,
};

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

    pub(super) fn fan_out_to(
        &self,
        group: Arc<Group>,
        except: Option<&ChannelName>,
        delivery: Delivery,
    ) -> FanOut {
        let walk = Walk::new(vec![group], except.and_then(|channel| self.sender(channel)));
        FanOut { walk, delivery, deliveries: Deliveries::default(), totals: self.totals() }
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
        self.totals.account(self.walk.names(), &self.deliveries);
    }
}
