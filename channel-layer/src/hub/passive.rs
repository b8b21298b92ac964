//! Members that receive summaries instead of messages.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{
    cooperative::{SLICE, run_sliced},
    totals::Totals,
};
use crate::{
    layer::Deliveries,
    mailbox::{Delivery, MailboxSender, Refusal},
    message::Message,
    name::GroupName,
    selection::GroupActivity,
    sync::{Mutex, MutexGuard, lock},
};

/// The passive members of a shard with the same interval. One timer serves all, and runs only after a message.
pub(super) struct PassiveMembers {
    group: GroupName,
    every: Duration,
    totals: Arc<Totals>,
    /// Locked after the group's members.
    state: Mutex<PassiveState>,
}

#[derive(Default)]
struct PassiveState {
    /// By the identifiers of their mailboxes.
    members: HashMap<usize, PassiveMember>,
    /// Messages since the last summaries.
    count: u64,
    /// The remaining lifetime of the last of these messages, which is that of the summaries.
    lifetime: Duration,
    has_timer: bool,
}

struct PassiveMember {
    sender: MailboxSender,
    /// Messages of `count` that were before its time, or left it out.
    uncounted: u64,
}

/// The summaries for some members, each with its count.
struct Summaries {
    members: Vec<(MailboxSender, u64)>,
    expires: Instant,
}

/// The timer of one interval. Dropped before its end, with its runtime, it makes room for another.
struct SummaryTimer {
    passive: Weak<PassiveMembers>,
    is_over: bool,
}

impl PassiveMembers {
    pub(super) fn new(group: GroupName, every: Duration, totals: Arc<Totals>) -> Self {
        Self { group, every, totals, state: Mutex::default() }
    }

    pub(super) fn join(&self, member: &MailboxSender) {
        let mut state = self.state();
        let uncounted = state.count;
        state.members.insert(member.id(), PassiveMember { sender: member.clone(), uncounted });
    }

    pub(super) fn leave(&self, member: &MailboxSender) {
        let left = self.state().members.remove(&member.id());
        drop(left); // not under the lock
    }

    /// Counts messages to the group, of which the last one expires then.
    pub(super) fn count(self: &Arc<Self>, messages: usize, expires: Instant) {
        let mut state = self.state();
        state.count += messages as u64;
        state.lifetime = expires.saturating_duration_since(Instant::now());
        // Without a runtime, a later message starts the timer.
        let Some(runtime) = Handle::try_current().ok().filter(|_| !state.has_timer) else { return };
        state.has_timer = true;
        drop(state); // a runtime that has ended drops the timer at once
        let timer = SummaryTimer { passive: Arc::downgrade(self), is_over: false };
        drop(runtime.spawn(timer.run(self.every)));
    }

    /// Takes back a message that was counted, for a member that it leaves out.
    pub(super) fn uncount(&self, member: &MailboxSender) {
        if let Some(member) = self.state().members.get_mut(&member.id()) {
            member.uncounted += 1;
        }
    }

    fn take_summaries(&self) -> Summaries {
        let mut state = self.state();
        state.has_timer = false;
        let count = mem::take(&mut state.count);
        let summary = |member: &mut PassiveMember| {
            let counted = count.saturating_sub(mem::take(&mut member.uncounted));
            (counted > 0).then(|| (member.sender.clone(), counted))
        };
        let members = state.members.values_mut().filter_map(summary).collect();
        Summaries { members, expires: Instant::now() + state.lifetime }
    }

    fn state(&self) -> MutexGuard<'_, PassiveState> {
        lock(&self.state)
    }
}

impl SummaryTimer {
    async fn run(mut self, every: Duration) {
        sleep(every).await;
        // No reference is kept while it waits: the members may leave meanwhile.
        let Some(passive) = self.passive.upgrade() else { return };
        let Summaries { mut members, expires } = passive.take_summaries();
        self.is_over = true;
        // Nearly all members have the same count.
        let mut last: Option<(u64, Message)> = None;
        let mut made = Deliveries::default();
        run_sliced(|| {
            let slice = members.drain(members.len().saturating_sub(SLICE)..);
            let before = made.matched;
            for (member, count) in slice {
                let message = match &last {
                    Some((same, message)) if *same == count => message.clone(),
                    _ => GroupActivity::new(passive.group.clone(), count).to_message(),
                };
                last = Some((count, message.clone()));
                made.matched += 1;
                match member.deliver(Delivery { message, expires }) {
                    Ok(()) => made.delivered += 1,
                    Err(Refusal::Full) => made.full += 1,
                    Err(Refusal::Closed) => made.closed += 1,
                }
            }
            (made.matched > before).then_some(made.matched - before)
        })
        .await;
        passive.totals.account([&passive.group], &made);
    }
}

impl Drop for SummaryTimer {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(passive) = self.passive.upgrade()
        {
            passive.state().has_timer = false;
        }
    }
}
