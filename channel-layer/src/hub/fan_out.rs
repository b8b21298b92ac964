//! One message to many mailboxes, in slices.

use std::{collections::HashSet, sync::Arc};

use tokio::time::Instant;

use super::{Hub, group::Group, totals::Totals};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::{Delivery, MailboxSender, Refusal},
    message::Message,
    name::ChannelName,
};

/// Members served in one go: about 25 microseconds, short enough for whoever shares the thread.
const SLICE: usize = 1024;

/// Members served for one unit of the task's budget, of which tokio gives it 128 at a time: whoever sends message after
/// message gives the others a turn after about two thousand deliveries, long before mailboxes are full.
const MEMBERS_PER_UNIT: usize = 16;

/// A message on its way to all members of some groups. Each [`step`](Self::step) serves a slice of them.
///
/// No map is locked while it is under way, and no member is looked up by name.
#[derive(Debug)]
pub struct FanOut {
    /// Those not yet begun; the last one is under way.
    groups: Vec<Arc<Group>>,
    /// How far the last one is.
    place: usize,
    except: Option<ChannelName>,
    delivery: Delivery,
    /// Who has been served, by address: only kept for several groups, where it matters.
    served: Option<HashSet<usize>>,
    deliveries: Deliveries,
    totals: Arc<Totals>,
}

impl Hub {
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
    pub(super) fn new(
        groups: Vec<Arc<Group>>,
        except: Option<ChannelName>,
        delivery: Delivery,
        totals: Arc<Totals>,
    ) -> Self {
        let served = (groups.len() > 1).then(HashSet::new);
        Self { groups, place: 0, except, delivery, served, deliveries: Deliveries::default(), totals }
    }

    /// Serves a slice; false once all are served.
    pub fn step(&mut self) -> bool {
        let Some(group) = self.groups.last().cloned() else { return false };
        if group.slice(self.place, SLICE, |member| self.serve(member)) {
            self.place += SLICE;
            return true;
        }
        self.groups.pop();
        self.place = 0;
        !self.groups.is_empty()
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

    fn serve(&mut self, member: &MailboxSender) {
        let excepted = self.except.as_ref().is_some_and(|except| member.channel() == except);
        if excepted || self.served.as_mut().is_some_and(|served| !served.insert(member.id())) {
            return;
        }
        self.deliveries.matched += 1;
        match member.deliver(self.delivery.clone()) {
            Ok(()) => self.deliveries.delivered += 1,
            Err(Refusal::Closed) => self.deliveries.closed += 1,
            Err(Refusal::Full) => self.deliveries.full += 1,
        }
    }
}

/// However it ends, also half-way, what it did is accounted for.
impl Drop for FanOut {
    fn drop(&mut self) {
        let Deliveries { matched, full, closed, .. } = self.deliveries;
        self.totals.missed(closed);
        if full > 0 {
            self.totals.warn_of_full(full, matched);
        }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("members", &self.len()).finish()
    }
}
