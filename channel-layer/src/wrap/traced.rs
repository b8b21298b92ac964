//! A layer that traces its calls, their results and durations.

use tokio::time::Instant;
use tracing::{Instrument, Level, enabled};

use super::{Call, Wrap};
use crate::error::Result;

/// A span around every call, and an event at its end: at `DEBUG`, or at `WARN` when it failed.
///
/// Names of channels and groups are shown, contents of messages never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traced;

impl Wrap for Traced {
    async fn around<T: Send>(
        &self,
        call: Call<'_>,
        forward: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let span = tracing::debug_span!("channel_layer", call = call.name());
        let arguments = enabled!(Level::DEBUG).then(|| format!("{call:?}"));
        let began = Instant::now();
        let result = forward.instrument(span.clone()).await;
        let elapsed = began.elapsed();
        span.in_scope(|| match &result {
            Ok(_) => tracing::debug!(?elapsed, arguments, "done"),
            Err(error) => tracing::warn!(?elapsed, arguments, %error, "failed"),
        });
        result
    }
}
