//! The selections of the members of a shard: equal ones are one, with a small number.

use std::{collections::HashMap, sync::Arc};

use super::{passive::PassiveMembers, totals::Totals};
use crate::{
    mailbox::MailboxSender,
    name::GroupName,
    selection::{Selection, TagFilter},
};

/// A selection that several members of a shard share.
pub(super) enum Selector {
    Filter(TagFilter),
    Passive(Arc<PassiveMembers>),
}

/// The selector of a member, by its number in the shard: of no other selector while the shard is locked.
#[derive(Clone, Copy)]
pub(super) struct Selected<'a> {
    number: u32,
    selectors: &'a Selectors,
}

/// The selections of a shard. It exists while a member has one.
#[derive(Default)]
pub(super) struct Selectors {
    /// By slot, of which it has all: zero for a member that receives all messages, otherwise one more than the selector's
    /// number.
    of_slots: Vec<u32>,
    table: Vec<Option<UsedSelector>>,
    free: Vec<u32>,
    numbers: HashMap<Selection, u32>,
}

struct UsedSelector {
    selection: Selection,
    selector: Arc<Selector>,
    members: usize,
}

impl<'a> Selected<'a> {
    pub(super) fn number(self) -> usize {
        self.number as usize
    }

    pub(super) fn selector(self) -> &'a Arc<Selector> {
        let used = self.selectors.table[self.number()].as_ref();
        &used.expect("a number that a member has is used").selector
    }

    pub(super) fn is_passive(self) -> bool {
        matches!(**self.selector(), Selector::Passive(_))
    }
}

impl Selectors {
    pub(super) fn new(slots: usize) -> Self {
        Self { of_slots: vec![0; slots], ..Self::default() }
    }

    /// Adds slots, of members that receive all messages, up to this number of them.
    pub(super) fn extend_to(&mut self, slots: usize) {
        self.of_slots.resize(slots, 0);
    }

    /// The selectors of the members in the slots from `from` on; `None` for members that receive all messages.
    pub(super) fn slots_from(&self, from: usize) -> impl Iterator<Item = Option<Selected<'_>>> {
        let entries = self.of_slots.get(from..).unwrap_or_default();
        entries.iter().map(|entry| Some(Selected { number: entry.checked_sub(1)?, selectors: self }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Sets the selection of the member at a slot, which has none.
    pub(super) fn insert(
        &mut self,
        slot: usize,
        selection: &Selection,
        member: &MailboxSender,
        group: &GroupName,
        totals: &Arc<Totals>,
    ) {
        let make = || match selection {
            Selection::All => None,
            Selection::Where(filter) => Some(Selector::Filter(filter.clone())),
            Selection::Passive(every) => {
                let every = (*every).max(Selection::MIN_PASSIVE);
                let members = PassiveMembers::new(group.clone(), every, totals.clone());
                Some(Selector::Passive(Arc::new(members)))
            }
        };
        let number = match self.numbers.get(selection) {
            Some(number) => *number,
            None => {
                let Some(selector) = make() else { return };
                self.add(selection, selector)
            }
        };
        if let Some(used) = &mut self.table[number as usize] {
            used.members += 1;
            if let Selector::Passive(passive) = &*used.selector {
                passive.join(member);
            }
        }
        self.of_slots[slot] = number + 1;
    }

    /// Ends the selection of the member at a slot, if it has one.
    pub(super) fn remove(&mut self, slot: usize, member: &MailboxSender) {
        let Some(number) = self.of_slots.get_mut(slot).and_then(|entry| std::mem::take(entry).checked_sub(1))
        else {
            return;
        };
        let used_slot = &mut self.table[number as usize];
        let Some(used) = used_slot else { return };
        used.members -= 1;
        if let Selector::Passive(passive) = &*used.selector {
            passive.leave(member);
        }
        if let Some(unused) = used_slot.take_if(|used| used.members == 0) {
            self.numbers.remove(&unused.selection);
            self.free.push(number);
        }
    }

    fn add(&mut self, selection: &Selection, selector: Selector) -> u32 {
        let used =
            Some(UsedSelector { selection: selection.clone(), selector: Arc::new(selector), members: 0 });
        let number = match self.free.pop() {
            Some(number) => {
                self.table[number as usize] = used;
                number
            }
            None => {
                self.table.push(used);
                u32::try_from(self.table.len() - 1).expect("memory ends before four billion selections")
            }
        };
        self.numbers.insert(selection.clone(), number);
        number
    }
}
