//! The mailboxes and groups of one process, and the fan-out of messages to them.
//!
//! Every backend that receives messages for a whole process builds on a [`Hub`]: the in-memory layer is a hub and little
//! else, a Redis layer is a hub fed by its subscriptions.
//!
//! # Ordering
//! Messages that one caller sends one after the other reach each mailbox in that order. The members of a group are held in
//! shards, and all members in one shard see the messages to the group in one order. There is one shard today, so all
//! members of a group do, except for messages to several groups, which keep the order of each sender alone.
//!
//! # Slow consumers
//! No sender waits for a receiver: a full mailbox does what its [`OverflowPolicy`](crate::OverflowPolicy) says, and is
//! counted. A group whose members miss messages is named in a warning through `tracing`, at most once a second.
//!
//! # Selections
//! A member may [select](crate::Selection) a part of its groups' messages. Equal selections of a group's members are
//! evaluated once per message; members without the message cost less than those that take it. A group whose members receive
//! all messages keeps nothing for selections.
//!
//! # Accounting
//! [`Hub::ledger`] accounts for every message that was offered to a mailbox here.

mod combining;
mod cooperative;
mod fan_out;
mod group;
mod index;
mod match_outcomes;
mod member_cursor;
mod memberships;
mod passive;
mod selectors;
mod totals;

pub(crate) use self::cooperative::run_sliced;
pub use self::{
    fan_out::FanOut,
    group::GroupSend,
    index::{GroupObserver, Hub},
};

#[cfg(test)]
mod tests;
