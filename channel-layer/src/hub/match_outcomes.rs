//! The outcome of selections for the messages of one fan-out: once per selection, not per member.

use std::{fmt, sync::Arc};

use super::selectors::{Selected, Selector};
use crate::mailbox::{Burst, Delivery, MailboxSender};

/// The outcomes of one fan-out, by the numbers of their selectors.
#[derive(Debug, Default)]
pub(super) struct MatchOutcomes {
    current: Vec<Option<MatchOutcome>>,
    /// The number of the current slice. Within a slice, a number stands for one selector.
    slice: u64,
    /// By message: members that were filtered by selectors that have gone, or one by one.
    past: Vec<usize>,
}

/// The messages that the members with one selector receive.
pub(super) struct MatchOutcome {
    /// The last slice in which the number was found to be that of the selector.
    checked: u64,
    /// Kept, so that no other selector has its address meanwhile.
    selector: Arc<Selector>,
    /// The positions of the messages that they do not receive, in ascending order.
    pub(super) filtered: Arc<[usize]>,
    pub(super) rest: Rest,
    /// The members that were served.
    pub(super) members: usize,
}

/// The other messages.
pub(super) enum Rest {
    All,
    None,
    One(usize, Delivery),
    /// Apart from the burst, so that no member keeps a message in memory that is not for it.
    Burst(Burst, Vec<usize>),
}

impl MatchOutcomes {
    /// Begins a slice. Between two slices, members may change their selections.
    pub(super) fn begin_slice(&mut self) {
        self.slice += 1;
    }

    /// Returns the outcome of a selector, made at its first member.
    pub(super) fn outcome(&mut self, selected: Selected<'_>, deliveries: &[Delivery]) -> &mut MatchOutcome {
        let number = selected.number();
        let is_known = matches!(self.current.get(number), Some(Some(known)) if known.checked == self.slice);
        if !is_known {
            self.check(selected, deliveries);
        }
        self.current[number].as_mut().expect("has been made")
    }

    /// Makes the outcome of a selector, unless an earlier slice did. Not inlined: nearly all members find theirs checked.
    #[cold]
    fn check(&mut self, selected: Selected<'_>, deliveries: &[Delivery]) {
        let (number, selector, checked) = (selected.number(), selected.selector(), self.slice);
        if self.current.len() <= number {
            self.current.resize_with(number + 1, || None);
        }
        match &mut self.current[number] {
            Some(known) if Arc::ptr_eq(&known.selector, selector) => known.checked = checked,
            other => {
                let old = other.replace(MatchOutcome::new(selector, deliveries, checked));
                // A number is used again: by another group, or once its selector has lost its last member.
                if let Some(old) = old {
                    self.add_past(&old.filtered, old.members);
                }
            }
        }
    }

    /// Counts members that did not receive the messages at these positions.
    pub(super) fn add_past(&mut self, filtered: &[usize], members: usize) {
        let Some(last) = filtered.last() else { return };
        if self.past.len() <= *last {
            self.past.resize(last + 1, 0);
        }
        filtered.iter().for_each(|position| self.past[*position] += members);
    }

    /// By message, the members that were filtered so far. Shorter if there are none for the last ones.
    pub(super) fn filtered(&self) -> Vec<usize> {
        let mut sums = Self { past: self.past.clone(), ..Self::default() };
        for outcome in self.current.iter().flatten() {
            sums.add_past(&outcome.filtered, outcome.members);
        }
        sums.past
    }
}

impl MatchOutcome {
    fn new(selector: &Arc<Selector>, deliveries: &[Delivery], checked: u64) -> Self {
        let all = 0..deliveries.len();
        let (filtered, taken): (Vec<_>, Vec<_>) = match &**selector {
            Selector::Filter(filter) => all.partition(|at| !filter.matches(&deliveries[*at].message)),
            Selector::Passive(passive) => {
                if let Some(last) = deliveries.last() {
                    passive.count(deliveries.len(), last.expires);
                }
                (all.collect(), Vec::new())
            }
        };
        let rest = match taken[..] {
            _ if filtered.is_empty() => Rest::All,
            [] => Rest::None,
            [only] => Rest::One(only, deliveries[only].clone()),
            _ => Rest::Burst(Burst::new(taken.iter().map(|at| deliveries[*at].clone()).collect()), taken),
        };
        Self { checked, selector: selector.clone(), filtered: filtered.into(), rest, members: 0 }
    }

    /// Takes the messages that leave this member out from its summary, if it is passive.
    pub(super) fn uncount(&self, member: &MailboxSender, excepted: &[(usize, MailboxSender)]) {
        if let Selector::Passive(passive) = &*self.selector {
            let own = excepted.iter().filter(|(_, other)| other.same_mailbox(member));
            own.for_each(|_| passive.uncount(member));
        }
    }
}

impl fmt::Debug for MatchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatchOutcome")
            .field("filtered", &self.filtered)
            .field("members", &self.members)
            .finish()
    }
}
