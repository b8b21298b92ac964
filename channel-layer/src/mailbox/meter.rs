//! The ledger in the `metrics` facade, with the feature of that name. Without it, nothing.
//!
//! | counter | labels |
//! |---|---|
//! | `channel_layer_messages_offered_total` | |
//! | `channel_layer_messages_delivered_total` | |
//! | `channel_layer_messages_dropped_total` | `reason`: `closed`, `evicted`, `expired`, `flushed`, `full`, `replaced` |

use super::ledger::Reason;

#[cfg(feature = "metrics")]
mod enabled {
    use metrics::counter;

    use super::Reason;

    pub(crate) fn offered(messages: u64) {
        counter!("channel_layer_messages_offered_total").increment(messages);
    }

    pub(crate) fn delivered(messages: u64) {
        counter!("channel_layer_messages_delivered_total").increment(messages);
    }

    pub(crate) fn dropped(reason: Reason, messages: u64) {
        counter!("channel_layer_messages_dropped_total", "reason" => reason.name()).increment(messages);
    }

    impl Reason {
        fn name(self) -> &'static str {
            match self {
                Self::Closed => "closed",
                Self::Evicted => "evicted",
                Self::Expired => "expired",
                Self::Flushed => "flushed",
                Self::Full => "full",
                Self::Replaced => "replaced",
            }
        }
    }
}

#[cfg(feature = "metrics")]
pub(crate) use self::enabled::{delivered, dropped, offered};

#[cfg(not(feature = "metrics"))]
mod disabled {
    use super::Reason;

    pub(crate) fn offered(_: u64) {}
    pub(crate) fn delivered(_: u64) {}
    pub(crate) fn dropped(_: Reason, _: u64) {}
}

#[cfg(not(feature = "metrics"))]
pub(crate) use self::disabled::{delivered, dropped, offered};
