//! What the layer counts, for operators.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{pace::Pace, warnings::Warnings};

/// Defines the counters, their snapshot and their names in one go, so that none is forgotten in one of them.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident $name:literal,)*) => {
        /// Counters of one layer. Relaxed: each stands for itself, and nothing is decided by them.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $field: Counter<{ Id::$field as usize }>,)*
            unreadable_pace: Pace,
            pub(crate) warnings: Warnings,
        }

        /// What a layer has counted since it was made. The same numbers go to the `metrics` facade, when that
        /// feature is on, under the names given here.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats { $($(#[$doc])* #[doc = concat!("`", $name, "`.")] pub $field: u64,)* }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($field: self.$field.value(),)* }
            }
        }

        #[allow(non_camel_case_types)]
        enum Id { $($field,)* }

        #[cfg(feature = "metrics")]
        const NAMES: &[&str] = &[$($name,)*];
    };
}

counters! {
    /// Messages that Redis accepted from this process.
    published "channel_layer_redis_published_total",
    /// Messages that were not accepted: refused, timed out, or no connection.
    publish_failed "channel_layer_redis_publish_failed_total",
    /// Messages that came in by the subscription.
    received "channel_layer_redis_received_total",
    /// Messages that other processes published for this one and that never came in: gaps in the sequence.
    /// What was refused to its publisher counts too.
    lost "channel_layer_redis_lost_total",
    /// Messages that came in again, or too late to be in order; they were dropped.
    stale "channel_layer_redis_stale_total",
    /// Deliveries that a full mailbox refused.
    full "channel_layer_redis_full_total",
    /// Messages that could not be read: foreign, broken, too long, of another version, or with what a message cannot
    /// carry; and replies of the server in a shape that this crate does not know.
    unreadable "channel_layer_redis_unreadable_total",
    /// Times that a connection to Redis was lost.
    disconnects "channel_layer_redis_disconnects_total",
    /// Times that it came back.
    reconnects "channel_layer_redis_reconnects_total",
    /// Milliseconds in which messages may have been missed, over all reconnects.
    gap_milliseconds "channel_layer_redis_gap_milliseconds_total",
    /// Attempts to connect that failed.
    connect_failed "channel_layer_redis_connect_failed_total",
    /// Groups whose subscription Redis refused after it came back: their members hear nothing until it is allowed, and
    /// the next connection is made or the group is joined anew.
    subscribe_refused "channel_layer_redis_subscribe_refused_total",
    /// Groups that Redis had lost, with members of this process, and that were made again: mode `core`.
    groups_lost "channel_layer_redis_groups_lost_total",
    /// Messages taken from named channels.
    taken "channel_layer_redis_taken_total",
    /// Messages taken from named channels and given back, because nobody was waiting any more.
    given_back "channel_layer_redis_given_back_total",
}

impl Counters {
    /// Counts something from Redis that cannot be read, and warns about it once a second.
    pub(crate) fn note_unreadable(&self, what: &str, reason: impl fmt::Display) {
        self.unreadable.one();
        if let Some(count) = self.unreadable_pace.pass() {
            tracing::warn!(what, %reason, count, "dropped what cannot be read");
        }
    }
}

/// One counter; its number finds its name.
#[derive(Debug, Default)]
pub(crate) struct Counter<const ID: usize>(AtomicU64);

impl<const ID: usize> Counter<ID> {
    pub(crate) fn add(&self, more: u64) {
        if more == 0 {
            return;
        }
        self.0.fetch_add(more, Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!(NAMES[ID]).increment(more);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counter<{ Id::gap_milliseconds as usize }> {
    pub(crate) fn add_time(&self, time: Duration) {
        self.add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }
}
