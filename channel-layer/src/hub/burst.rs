//! Many messages to many mailboxes, in slices.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Hub, SLICE, group::Group, totals::Totals, walk::Walk};
use crate::{
    layer::Deliveries,
    mailbox::{Delivery, MailboxSender, Refusal},
    name::{ChannelName, GroupName},
};

/// One of the messages of a [`Burst`].
#[derive(Debug)]
pub struct Post {
    /// What every member is sent.
    pub delivery: Delivery,
    /// A channel that is left out, most often the sender's own.
    pub except: Option<ChannelName>,
    /// Told what became of the message, once it has been everywhere.
    pub told: Option<oneshot::Sender<Deliveries>>,
}

/// To everybody, and nobody is told.
impl From<Delivery> for Post {
    fn from(delivery: Delivery) -> Self {
        Self { delivery, except: None, told: None }
    }
}

/// Messages on their way to the same group, for layers that receive many at a time: each member is visited once, at the
/// price of one lock and one wake-up for all of them. It sees what it would see of one [`FanOut`](super::FanOut) after the
/// other.
///
/// Each [`step`](Self::step) serves a slice of the members.
#[derive(Debug)]
pub struct Burst {
    walk: Walk,
    messages: Vec<Delivery>,
    /// By the places of the messages, as all that follows.
    excepted: Vec<Option<MailboxSender>>,
    told: Vec<Option<oneshot::Sender<Deliveries>>>,
    missed: Vec<Missed>,
    /// Members that have been visited.
    visited: usize,
    totals: Arc<Totals>,
}

/// What one message did not do. Counted instead of what it did: nearly always there is nothing to count.
#[derive(Clone, Copy, Debug, Default)]
struct Missed {
    excepted: usize,
    full: usize,
    closed: usize,
}

impl Hub {
    /// Starts to send messages, in their order, to all members of a group here; it goes on by [`Burst::step`].
    pub fn burst(&self, group: &GroupName, posts: Vec<Post>) -> Burst {
        self.burst_to(self.group(group), posts)
    }

    pub(super) fn burst_to(&self, group: Option<Arc<Group>>, posts: Vec<Post>) -> Burst {
        let mut burst = Burst {
            walk: Walk::new(group.into_iter().collect(), None),
            messages: Vec::with_capacity(posts.len()),
            excepted: Vec::with_capacity(posts.len()),
            told: Vec::with_capacity(posts.len()),
            missed: vec![Missed::default(); posts.len()],
            visited: 0,
            totals: self.totals(),
        };
        for Post { delivery, except, told } in posts {
            burst.messages.push(delivery);
            burst.excepted.push(except.and_then(|channel| self.sender(&channel)));
            burst.told.push(told);
        }
        burst
    }
}

impl Burst {
    /// As many messages should go together, at most. A third of a mailbox's usual capacity, so that members have two
    /// turns to empty theirs before it is full.
    pub const TOGETHER: usize = 32;

    /// Serves a slice of about a thousand deliveries; false once all are served.
    pub fn step(&mut self) -> bool {
        let Self { walk, messages, excepted, missed, visited, .. } = self;
        let places = (SLICE / messages.len().max(1)).max(1);
        walk.step(places, |member| {
            *visited += 1;
            serve(member, messages, excepted, missed);
        })
    }

    /// Deliveries that have been tried so far.
    pub fn deliveries(&self) -> usize {
        self.visited * self.messages.len()
    }

    /// What has become of each message so far, in the order in which they were given.
    pub fn outcomes(&self) -> impl Iterator<Item = Deliveries> {
        self.missed.iter().map(|missed| {
            let &Missed { excepted, full, closed } = missed;
            let matched = self.visited - excepted;
            Deliveries { matched, delivered: matched - full - closed, full, closed }
        })
    }
}

fn serve(
    member: &MailboxSender,
    messages: &[Delivery],
    excepted: &[Option<MailboxSender>],
    missed: &mut [Missed],
) {
    let is_meant = |place: usize| !excepted[place].as_ref().is_some_and(|other| other.same_mailbox(member));
    for (place, missed) in missed.iter_mut().enumerate() {
        missed.excepted += usize::from(!is_meant(place));
    }
    let meant = messages.iter().enumerate().filter(|(place, _)| is_meant(*place));
    member.deliver_all(meant, |place, refusal| match refusal {
        Refusal::Closed => missed[place].closed += 1,
        Refusal::Full => missed[place].full += 1,
    });
}

/// However it ends, also half-way, what it did is accounted for.
impl Drop for Burst {
    fn drop(&mut self) {
        let outcomes: Vec<_> = self.outcomes().collect();
        for (outcome, told) in outcomes.into_iter().zip(&mut self.told) {
            self.totals.account(self.walk.names(), &outcome);
            if let Some(told) = told.take() {
                let _ = told.send(outcome); // who asked may have gone
            }
        }
    }
}
