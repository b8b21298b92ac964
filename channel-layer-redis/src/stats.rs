//! The counters of a layer, and their names for the `metrics` facade.

use std::sync::Arc;

pub use channel_layer::backbone::BackboneStats as Stats;
pub(crate) use channel_layer::backbone::{Count, Counters};

/// Counters whose numbers also go to the `metrics` facade, when that feature is on.
pub(crate) fn counters() -> Arc<Counters> {
    #[cfg(feature = "metrics")]
    return Arc::new(Counters::recorded_by(|count, more| metrics::counter!(name(count)).increment(more)));
    #[cfg(not(feature = "metrics"))]
    Arc::default()
}

/// The name of a counter in the `metrics` facade. Static, because every increment needs it.
#[cfg(feature = "metrics")]
fn name(count: Count) -> &'static str {
    macro_rules! names {
        ($($name:literal)*) => {
            match count.name() {
                $($name => concat!("channel_layer_redis_", $name, "_total"),)*
                _ => "channel_layer_redis_other_total",
            }
        };
    }
    names! {
        "published" "publish_failed" "received" "lost" "stale" "full" "unreadable" "disconnects" "reconnects"
        "gap_milliseconds" "connect_failed" "subscribe_refused" "groups_lost" "taken" "given_back"
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_name() {
        let stats = format!("{:?}", Stats::default());
        let fields = stats.split(['{', ',']).skip(1).filter_map(|field| field.split(':').next());
        let fields: Vec<_> = fields.map(str::trim).collect();
        assert!(fields.len() > 10);
        for field in fields {
            assert!(
                include_str!("stats.rs").contains(&format!("\"{field}\"")),
                "{field} has no name in the facade"
            );
        }
        assert_eq!(name(Count::Lost), "channel_layer_redis_lost_total");
    }
}
