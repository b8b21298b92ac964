//! Many messages to many mailboxes, in slices.

use std::sync::Arc;

use super::{Hub, SLICE, totals::Totals, walk::Walk};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::{Delivery, MailboxSender, Refusal},
};

/// Messages on their way to the same audience, for layers that receive many at a time: each member is visited once, at the
/// price of one lock and one wake-up for all of them. It sees what it would see of one [`FanOut`](super::FanOut) after the
/// other.
///
/// Each [`step`](Self::step) serves a slice of the members.
#[derive(Debug)]
pub struct Burst {
    walk: Walk,
    messages: Vec<Delivery>,
    outcomes: Vec<Deliveries>,
    totals: Arc<Totals>,
}

impl Hub {
    /// Starts to send messages, in their order, to all members of an audience here; it goes on by [`Burst::step`].
    pub fn burst(&self, to: &Audience, messages: Vec<Delivery>) -> Burst {
        let outcomes = vec![Deliveries::default(); messages.len()];
        Burst { walk: self.walk(to), messages, outcomes, totals: self.totals() }
    }
}

impl Burst {
    /// Serves a slice of about a thousand deliveries; false once all are served.
    pub fn step(&mut self) -> bool {
        let Self { walk, messages, outcomes, .. } = self;
        let places = (SLICE / messages.len().max(1)).max(1);
        walk.step(places, |member| serve(member, messages, outcomes))
    }

    /// What has become of each message so far, in the order in which they were given.
    pub fn outcomes(&self) -> &[Deliveries] {
        &self.outcomes
    }
}

fn serve(member: &MailboxSender, messages: &[Delivery], outcomes: &mut [Deliveries]) {
    for outcome in &mut *outcomes {
        outcome.matched += 1;
        outcome.delivered += 1;
    }
    member.deliver_all(messages, |place, refusal| {
        let outcome = &mut outcomes[place];
        outcome.delivered -= 1;
        match refusal {
            Refusal::Closed => outcome.closed += 1,
            Refusal::Full => outcome.full += 1,
        }
    });
}

/// However it ends, also half-way, what it did is accounted for.
impl Drop for Burst {
    fn drop(&mut self) {
        self.outcomes.iter().for_each(|outcome| self.totals.account(outcome));
    }
}
