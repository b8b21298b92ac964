//! Counters of one layer, and warnings about the failures among them.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::error::LinkError;
use crate::{
    sync::{Mutex, lock},
    warnings::{WarningLimit, Warnings},
};

/// The most kinds of warnings. They include texts of servers.
const KINDS: usize = 64;

/// Receives every increment of a counter: the name of the counter and the amount.
pub type Recorder = fn(Count, u64);

/// Makes the counters, their snapshot and their names together, so that none is forgotten in one of them.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident $variant:ident,)*) => {
        /// A counter of [`BackboneStats`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Count { $($(#[$doc])* $variant,)* }

        impl Count {
            /// The name of the field of [`BackboneStats`].
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)* }
            }
        }

        /// The numbers of a layer since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct BackboneStats { $($(#[$doc])* pub $field: u64,)* }

        /// The counters of one layer. Relaxed: they are independent, and no decision depends on them.
        #[derive(Default)]
        pub struct Counters {
            $($field: AtomicU64,)*
            /// Held for an access.
            unreadable_limit: Mutex<WarningLimit>,
            /// By the operation that failed, and the reason.
            warnings: Warnings<(&'static str, String), KINDS>,
            recorder: Option<Recorder>,
        }

        impl Counters {
            /// The numbers up to now.
            pub fn snapshot(&self) -> BackboneStats {
                BackboneStats { $($field: self.$field.load(Relaxed),)* }
            }

            fn counter(&self, count: Count) -> &AtomicU64 {
                match count { $(Count::$variant => &self.$field,)* }
            }
        }
    };
}

counters! {
    /// Messages that the bus accepted from this process.
    published Published,
    /// Messages that were not accepted: refused, timed out, or without a link.
    publish_failed PublishFailed,
    /// Messages that came in by subscriptions.
    received Received,
    /// Messages that other processes published for this one and that never came in, found by gaps in their sequence.
    /// Messages that were refused to their publisher count too.
    lost Lost,
    /// Messages that came in again, or too late to be in order, and were dropped.
    stale Stale,
    /// Deliveries that a full mailbox refused.
    full Full,
    /// Messages that could not be read: foreign, malformed, too long, of another version, or with contents that a
    /// message cannot carry; and replies of the server in an unknown shape.
    unreadable Unreadable,
    /// Links that were lost.
    disconnects Disconnects,
    /// Links that were made again after a loss.
    reconnects Reconnects,
    /// Milliseconds in which messages may have been missed, over all reconnects.
    gap_milliseconds GapMilliseconds,
    /// Attempts to connect that failed.
    connect_failed ConnectFailed,
    /// Groups whose subscription the server refused after a reconnect. Their members receive no message until the next
    /// link, or until the group is joined again.
    subscribe_refused SubscribeRefused,
    /// Groups with members of this process that the server had lost, and that were made again.
    groups_lost GroupsLost,
    /// Messages taken from queues.
    taken Taken,
    /// Messages taken from queues and given back, because their receiver had left.
    given_back GivenBack,
}

impl Counters {
    /// Counters whose increments go to the `metrics` facade as `channel_layer_backbone_<name>_total`, with the feature
    /// of that name.
    pub fn metered() -> Self {
        #[cfg(feature = "metrics")]
        return Self::recorded_by(|count, more| {
            metrics::counter!(format!("channel_layer_backbone_{}_total", count.name())).increment(more);
        });
        #[cfg(not(feature = "metrics"))]
        Self::default()
    }

    /// Counters whose increments go to a recorder as well.
    pub fn recorded_by(recorder: Recorder) -> Self {
        Self { recorder: Some(recorder), ..Self::default() }
    }

    /// Adds a number to a counter.
    pub fn add(&self, count: Count, more: u64) {
        if more == 0 {
            return;
        }
        self.counter(count).fetch_add(more, Relaxed);
        if let Some(recorder) = self.recorder {
            recorder(count, more);
        }
    }

    /// Adds one to a counter.
    pub fn one(&self, count: Count) {
        self.add(count, 1);
    }

    pub(super) fn add_gap(&self, gap: Duration) {
        self.add(Count::GapMilliseconds, u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
    }

    /// Counts unreadable input from the server, and warns about it once a second.
    pub fn note_unreadable(&self, what: &str, reason: impl fmt::Display) {
        self.one(Count::Unreadable);
        // Not under the lock: a subscriber of `tracing` may come back here.
        let due = lock(&self.unreadable_limit).add(1);
        if let Some(count) = due {
            tracing::warn!(what, %reason, count, "dropped unreadable input");
        }
    }

    /// Warns about a failure, at most once a second for each kind.
    pub fn warn(&self, what: &'static str, error: &LinkError) {
        if let Some(times) = self.warning_due(what, error) {
            tracing::warn!(%error, times, "{what}");
        }
    }

    /// Counts a failure. Returns the number of failures of this kind since its last warning, if a warning is due.
    pub fn warning_due(&self, what: &'static str, error: &LinkError) -> Option<u64> {
        self.warnings.add(&(what, error.kind()), 1)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_reach_the_recorder() {
        static RECORDED: AtomicU64 = AtomicU64::new(0);
        let counters = Counters::recorded_by(|count, more| {
            assert_eq!(count.name(), "lost");
            RECORDED.fetch_add(more, Relaxed);
        });
        counters.add(Count::Lost, 2);
        counters.add(Count::Lost, 0);
        counters.one(Count::Lost);
        assert_eq!((counters.snapshot().lost, RECORDED.load(Relaxed)), (3, 3));
    }
}
