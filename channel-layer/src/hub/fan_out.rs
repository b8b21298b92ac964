//! Any number of messages to all members of some groups, in slices.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::oneshot, time::Instant};

use super::{
    cooperative::SLICE,
    group::GroupSend,
    index::Hub,
    match_outcomes::{MatchOutcomes, Rest},
    member_cursor::MemberCursor,
    totals::Totals,
};
use crate::{
    layer::{Audience, Deliveries},
    mailbox::{Burst, Delivery, MailboxSender, Refusal},
    message::Message,
    name::{ChannelName, GroupName},
};

/// Messages that are being handed to all members of some groups. Each [`step`](Self::step) serves a slice of about a
/// thousand deliveries.
///
/// Each member is visited once and takes all messages as one [`Burst`], with one lock and at most one wake-up. It
/// receives what it would receive of one message after the other.
#[derive(Debug)]
pub struct FanOut {
    cursor: MemberCursor,
    load: Load,
    /// The channels that are left out, with the position of the message that each does not get.
    excepted: Vec<(usize, MailboxSender)>,
    /// Members that have been served.
    visited: usize,
    /// Empty unless members have selections.
    matches: MatchOutcomes,
    /// Members of several groups that do not receive all messages by those visited so far, by their identifiers.
    partial: HashMap<usize, PartialMember>,
    /// Partial members that have been visited in all groups, and are yet to be served.
    complete: Vec<PartialMember>,
    totals: Arc<Totals>,
}

/// A member that waits for its other groups: each may add messages, and all have to go together, in their order.
#[derive(Debug)]
struct PartialMember {
    sender: MailboxSender,
    /// The positions of the messages that no group so far has for it.
    filtered: Arc<[usize]>,
}

#[derive(Debug)]
enum Load {
    /// Apart from bursts, because a message alone needs no memory of its own.
    One(Delivery, Tally),
    Burst(Burst, Box<[Tally]>),
}

/// The outcome of one message so far. Counts the members without it: nearly always there are none.
#[derive(Debug, Default)]
struct Tally {
    excepted: usize,
    full: usize,
    closed: usize,
    on_done: Option<oneshot::Sender<Deliveries>>,
}

impl Hub {
    /// Starts to send a message to all members of an audience here; [`FanOut::step`] continues.
    pub fn fan_out(&self, to: &Audience, message: Message, expires: Instant) -> FanOut {
        self.fan_out_one(self.cursor(to.groups()), to.excepted(), Delivery { message, expires })
    }

    /// Starts to send messages, in their order, to all members of some groups here; [`FanOut::step`] continues. A member of
    /// several groups gets each message once.
    pub fn fan_out_all<'a>(
        &self,
        groups: impl IntoIterator<Item = &'a GroupName>,
        sends: Vec<GroupSend>,
    ) -> FanOut {
        self.fan_out_from(self.cursor(groups), sends)
    }

    pub(super) fn fan_out_one(
        &self,
        cursor: MemberCursor,
        except: Option<&ChannelName>,
        delivery: Delivery,
    ) -> FanOut {
        let excepted = except.and_then(|channel| self.sender(channel)).map(|sender| (0, sender));
        let load = Load::One(delivery, Tally::default());
        FanOut::new(cursor, load, Vec::from_iter(excepted), self.totals())
    }

    pub(super) fn fan_out_from(&self, cursor: MemberCursor, sends: Vec<GroupSend>) -> FanOut {
        let mut excepted = Vec::new();
        let mut deliveries = Vec::with_capacity(sends.len());
        let mut tallies = Vec::with_capacity(sends.len());
        for (position, GroupSend { delivery, except, on_done }) in sends.into_iter().enumerate() {
            excepted
                .extend(except.and_then(|channel| self.sender(&channel)).map(|sender| (position, sender)));
            deliveries.push(delivery);
            tallies.push(Tally { on_done, ..Tally::default() });
        }
        let load = match (deliveries.len(), deliveries.pop(), tallies.pop()) {
            (1, Some(delivery), Some(tally)) => Load::One(delivery, tally),
            (_, delivery, tally) => {
                deliveries.extend(delivery);
                tallies.extend(tally);
                Load::Burst(Burst::new(deliveries), tallies.into())
            }
        };
        FanOut::new(cursor, load, excepted, self.totals())
    }

    fn cursor<'a>(&self, groups: impl IntoIterator<Item = &'a GroupName>) -> MemberCursor {
        MemberCursor::new(groups.into_iter().filter_map(|name| self.group(name)).collect())
    }
}

impl FanOut {
    /// Messages that should go together, at most. A third of a mailbox's usual capacity, so that members have two turns
    /// to empty theirs before it is full.
    pub const TOGETHER: usize = 32;

    fn new(
        cursor: MemberCursor,
        load: Load,
        excepted: Vec<(usize, MailboxSender)>,
        totals: Arc<Totals>,
    ) -> Self {
        let (matches, partial, complete) = (MatchOutcomes::default(), HashMap::new(), Vec::new());
        Self { cursor, load, excepted, visited: 0, matches, partial, complete, totals }
    }

    /// Serves a slice; false once all are served.
    pub fn step(&mut self) -> bool {
        let slots = (SLICE / self.load.tallies().len().max(1)).max(1);
        self.matches.begin_slice();
        let more = if self.cursor.is_union() { self.step_union(slots) } else { self.step_group(slots) };
        more || self.step_partial(slots)
    }

    /// Serves members of the only group.
    fn step_group(&mut self, slots: usize) -> bool {
        let Self { cursor, load, excepted, visited, matches, .. } = self;
        let plain = cursor.plain_step(slots, |member| {
            *visited += 1;
            load.serve(member, excepted);
        });
        if let Some(more) = plain {
            return more;
        }
        cursor.step(slots, |member, selected, _| {
            *visited += 1;
            let outcome = selected.map(|selected| matches.outcome(selected, load.deliveries()));
            // One way for all members that take all messages, with a selection or without.
            let Some(outcome) = outcome.filter(|outcome| !matches!(outcome.rest, Rest::All)) else {
                load.serve(member, excepted);
                return true;
            };
            if excepted.iter().any(|(_, other)| other.same_mailbox(member)) {
                outcome.uncount(member, excepted);
                let filtered = outcome.filtered.clone();
                load.serve_without(member, excepted, &filtered, matches);
            } else {
                outcome.members += 1;
                load.serve_rest(member, &outcome.rest);
            }
            true
        })
    }

    /// Serves members that receive all messages by one of their groups, and collects the others.
    fn step_union(&mut self, slots: usize) -> bool {
        let Self { cursor, load, excepted, visited, matches, partial, .. } = self;
        cursor.step(slots, |member, selected, is_seen| {
            if is_seen {
                // Served by another group: only its summary of this one is left.
                if let Some(selected) = selected.filter(|selected| selected.is_passive()) {
                    matches.outcome(selected, load.deliveries()).uncount(member, excepted);
                }
                return true;
            }
            if let Some(selected) = selected {
                let outcome = matches.outcome(selected, load.deliveries());
                let filtered = &outcome.filtered;
                if !filtered.is_empty() {
                    outcome.uncount(member, excepted);
                    let first = || PartialMember { sender: member.clone(), filtered: filtered.clone() };
                    partial.entry(member.id()).or_insert_with(first).add(filtered);
                    return false;
                }
            }
            if !partial.is_empty() {
                partial.remove(&member.id());
            }
            *visited += 1;
            load.serve(member, excepted);
            true
        })
    }

    /// Serves the members that have waited for their other groups.
    fn step_partial(&mut self, members: usize) -> bool {
        let Self { load, excepted, visited, matches, partial, complete, .. } = self;
        if !partial.is_empty() {
            complete.extend(std::mem::take(partial).into_values());
        }
        for member in complete.drain(complete.len().saturating_sub(members)..) {
            *visited += 1;
            load.serve_without(&member.sender, excepted, &member.filtered, matches);
        }
        !complete.is_empty()
    }

    /// Serves all that are left, without a pause, and returns the [sum](Self::deliveries).
    pub fn finish(mut self) -> Deliveries {
        while self.step() {}
        self.deliveries()
    }

    /// The number of deliveries that have been tried.
    pub fn tried(&self) -> usize {
        self.visited * self.load.tallies().len()
    }

    /// The outcome of all messages so far, added up.
    pub fn deliveries(&self) -> Deliveries {
        let mut sum = Deliveries::default();
        self.outcomes().for_each(|outcome| sum += outcome);
        sum
    }

    /// The outcome of each message so far, in the order in which they were given.
    pub fn outcomes(&self) -> impl Iterator<Item = Deliveries> {
        let filtered = self.matches.filtered();
        let filtered = filtered.into_iter().chain(std::iter::repeat(0));
        self.load
            .tallies()
            .iter()
            .zip(filtered)
            .map(|(tally, filtered)| tally.outcome(self.visited, filtered))
    }
}

impl PartialMember {
    /// Adds the messages that another group has for the member: only those at `filtered` it has not.
    fn add(&mut self, filtered: &[usize]) {
        if self.filtered[..] != *filtered {
            let both = self.filtered.iter().copied().filter(|at| filtered.binary_search(at).is_ok());
            self.filtered = both.collect();
        }
    }
}

impl Load {
    fn tallies(&self) -> &[Tally] {
        match self {
            Self::One(_, tally) => std::slice::from_ref(tally),
            Self::Burst(_, tallies) => tallies,
        }
    }

    fn deliveries(&self) -> &[Delivery] {
        match self {
            Self::One(delivery, _) => std::slice::from_ref(delivery),
            Self::Burst(burst, _) => burst.deliveries(),
        }
    }

    fn tallies_mut(&mut self) -> &mut [Tally] {
        match self {
            Self::One(_, tally) => std::slice::from_mut(tally),
            Self::Burst(_, tallies) => tallies,
        }
    }

    /// Serves a member with the messages that its selection leaves.
    fn serve_rest(&mut self, member: &MailboxSender, rest: &Rest) {
        match rest {
            Rest::None => {}
            Rest::All => self.serve(member, &[]),
            Rest::One(position, delivery) => {
                if let Err(refusal) = member.deliver(delivery.clone()) {
                    self.tallies_mut()[*position].add(refusal);
                }
            }
            Rest::Burst(burst, positions) => {
                let tallies = self.tallies_mut();
                member.deliver_burst(burst, &[], |at, refusal| tallies[positions[at]].add(refusal));
            }
        }
    }

    /// Serves a member with the messages that are not at the positions `filtered`.
    fn serve_without(
        &mut self,
        member: &MailboxSender,
        excepted: &[(usize, MailboxSender)],
        filtered: &[usize],
        matches: &mut MatchOutcomes,
    ) {
        let excepted = excepted.iter().filter(|(_, other)| other.same_mailbox(member));
        let excepted: Vec<_> = excepted.map(|(position, _)| *position).collect();
        for position in 0..self.deliveries().len() {
            if excepted.contains(&position) {
                self.tallies_mut()[position].excepted += 1;
            } else if filtered.binary_search(&position).is_ok() {
                matches.add_past(&[position], 1);
            } else if let Err(refusal) = member.deliver(self.deliveries()[position].clone()) {
                self.tallies_mut()[position].add(refusal);
            }
        }
    }

    fn serve(&mut self, member: &MailboxSender, excepted: &[(usize, MailboxSender)]) {
        let mut skipped = excepted.iter().filter(|(_, other)| other.same_mailbox(member));
        match self {
            Self::One(delivery, tally) => {
                if skipped.next().is_some() {
                    tally.excepted += 1;
                } else if let Err(refusal) = member.deliver(delivery.clone()) {
                    tally.add(refusal);
                }
            }
            Self::Burst(burst, tallies) => {
                let skipped: Vec<_> = skipped.map(|(position, _)| *position).collect();
                skipped.iter().for_each(|position| tallies[*position].excepted += 1);
                member.deliver_burst(burst, &skipped, |position, refusal| tallies[position].add(refusal));
            }
        }
    }
}

impl Tally {
    fn add(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Closed => self.closed += 1,
            Refusal::Full => self.full += 1,
        }
    }

    fn outcome(&self, visited: usize, filtered: usize) -> Deliveries {
        let &Self { excepted, full, closed, .. } = self;
        let matched = visited - excepted;
        Deliveries { matched, delivered: matched - filtered - full - closed, filtered, full, closed }
    }
}

/// Accounts for what was done, also if that was not all.
impl Drop for FanOut {
    fn drop(&mut self) {
        let Self { cursor, load, visited, matches, totals, .. } = self;
        let filtered = matches.filtered();
        for (position, tally) in load.tallies_mut().iter_mut().enumerate() {
            let outcome = tally.outcome(*visited, filtered.get(position).copied().unwrap_or_default());
            totals.account(cursor.names(), &outcome);
            if let Some(on_done) = tally.on_done.take() {
                let _ = on_done.send(outcome); // the sender may have gone
            }
        }
    }
}
