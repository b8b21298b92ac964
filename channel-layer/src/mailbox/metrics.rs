//! The ledger in the `metrics` facade, with the feature of that name. Without it, these functions do nothing.
//!
//! | counter | labels |
//! |---|---|
//! | `channel_layer_messages_offered_total` | |
//! | `channel_layer_messages_delivered_total` | |
//! | `channel_layer_messages_dropped_total` | `reason`: `closed`, `evicted`, `expired`, `flushed`, `full`, `replaced` |
//! | `channel_layer_messages_filtered_total` | |

use super::reason::DropReason;

#[cfg(feature = "metrics")]
mod enabled {
    use metrics::counter;

    use super::DropReason;

    pub(crate) fn offered(messages: u64) {
        counter!("channel_layer_messages_offered_total").increment(messages);
    }

    pub(crate) fn delivered(messages: u64) {
        counter!("channel_layer_messages_delivered_total").increment(messages);
    }

    pub(crate) fn dropped(reason: DropReason, messages: u64) {
        counter!("channel_layer_messages_dropped_total", "reason" => reason.name()).increment(messages);
    }

    pub(crate) fn filtered(messages: u64) {
        counter!("channel_layer_messages_filtered_total").increment(messages);
    }

    impl DropReason {
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
pub(crate) use self::enabled::{delivered, dropped, filtered, offered};

#[cfg(not(feature = "metrics"))]
mod disabled {
    use super::DropReason;

    pub(crate) fn offered(_: u64) {}
    pub(crate) fn delivered(_: u64) {}
    pub(crate) fn dropped(_: DropReason, _: u64) {}
    pub(crate) fn filtered(_: u64) {}
}

#[cfg(not(feature = "metrics"))]
pub(crate) use self::disabled::{delivered, dropped, filtered, offered};

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use tokio::time::Instant;

    use crate::{
        mailbox::{Bounds, Delivery, Mailbox},
        message::Message,
    };

    #[test]
    fn counts_each_message_once() {
        let recorder = DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, || {
            let bounds = Bounds { messages: 3, bytes: 1 << 20 };
            let mut mailbox = Mailbox::new("a!b".parse().unwrap(), bounds, None);
            for _ in 0..5 {
                let expires = Instant::now() + Duration::from_secs(60);
                let _ = mailbox.sender().deliver(Delivery { message: Message::new("m"), expires });
            }
            mailbox.try_recv();
            mailbox.sender().flush();
        });
        let name = |key: &metrics::Key| {
            let reason = key.labels().next().map_or(String::new(), |label| format!(" {}", label.value()));
            format!("{}{reason}", key.name())
        };
        let counted: BTreeMap<_, _> = recorder
            .snapshotter()
            .snapshot()
            .into_vec()
            .into_iter()
            .map(|(key, _, _, value)| (name(key.key()), value))
            .collect();
        let count = |name: &str| &counted[&format!("channel_layer_messages_{name}")];
        assert_eq!(*count("offered_total"), DebugValue::Counter(5));
        assert_eq!(*count("delivered_total"), DebugValue::Counter(1));
        assert_eq!(*count("dropped_total full"), DebugValue::Counter(2));
        assert_eq!(*count("dropped_total flushed"), DebugValue::Counter(2));
    }
}
