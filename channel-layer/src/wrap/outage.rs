//! A layer whose backend is out of reach, or does not answer.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Call, Wrap};
use crate::{
    error::{Error, Result},
    events::{EventSource, LayerEvent, LayerEvents},
    sync::{Mutex, MutexGuard, lock},
};

/// Takes the backend of a layer away and brings it back, around a layer in memory, to test an application meanwhile.
/// Clones share the outage, so keep one.
///
/// Calls do what [`ChannelLayer`](crate::ChannelLayer) promises for an outage, except that there is no other process.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
/// use channel_layer::{
///     ChannelLayer, ChannelLayerExt, MemoryLayer, Message,
///     wrap::{Outage, Wrapped},
/// };
///
/// let outage = Outage::default();
/// let layer = Wrapped::new(MemoryLayer::default(), outage.clone());
/// outage.begin();
/// assert!(layer.events().state().is_away());
/// let refused = layer.group_send_message("lobby", Message::new("hello")).await.unwrap_err();
/// assert!(refused.is_outage() && !refused.is_uncertain());
/// outage.end();
/// layer.group_send_message("lobby", Message::new("hello")).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Outage(Arc<SharedOutage>);

#[derive(Debug, Default)]
struct SharedOutage {
    events: EventSource,
    state: Mutex<OutageState>,
}

#[derive(Debug, Default)]
struct OutageState {
    /// The time since which the backend has been away.
    since: Option<Instant>,
    /// The time that a call waits for an answer that does not come.
    hangs: Option<Duration>,
}

impl Outage {
    /// Takes the backend away, until [`end`](Self::end).
    pub fn begin(&self) {
        let mut state = self.state();
        if state.since.is_none() {
            state.since = Some(Instant::now());
            self.0.events.down();
            self.0.events.raise(LayerEvent::Disconnected);
        }
    }

    /// Brings the backend back. It answers again, too.
    pub fn end(&self) {
        let OutageState { since, .. } = std::mem::take(&mut *self.state());
        if let Some(since) = since {
            self.0.events.up();
            self.0.events.raise(LayerEvent::Reconnected { gap: since.elapsed() });
        }
    }

    /// Makes the backend take messages without an answer, until [`end`](Self::end). Sends to others [time
    /// out](Error::TimedOut) after this time.
    pub fn hang(&self, limit: Duration) {
        self.state().hangs = Some(limit);
    }

    fn state(&self) -> MutexGuard<'_, OutageState> {
        lock(&self.0.state)
    }
}

impl Wrap for Outage {
    async fn around<T: Send>(
        &self,
        call: Call<'_>,
        forward: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        if !needs_backend(call) {
            let result = forward.await;
            if matches!(call, Call::Close) {
                self.0.events.end();
                *self.state() = OutageState::default(); // from now on, the layer within refuses the calls
            }
            return result;
        }
        let (is_away, hangs) = {
            let state = self.state();
            (state.since.is_some(), state.hangs)
        };
        if is_away {
            return Err(Error::Unavailable("taken away by a test".into()));
        }
        let result = forward.await?;
        match hangs {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                Err(Error::TimedOut(limit))
            }
            None => Ok(result),
        }
    }

    /// Returns the wrap's events: the inner layer has no backend to lose.
    fn events(&self, _: LayerEvents) -> LayerEvents {
        self.0.events.subscribe()
    }
}

/// Whether a call needs the backend: memberships and mailboxes are kept here, and mailboxes of this process are reached
/// within it.
fn needs_backend(call: Call<'_>) -> bool {
    match call {
        Call::GroupSend { to, .. } => !to.is_local_only(),
        Call::Send { channel, .. } => !channel.is_process_local(),
        Call::Flush | Call::Health => true,
        Call::Close
        | Call::GroupAdd { .. }
        | Call::GroupDiscard { .. }
        | Call::GroupDiscardAll { .. }
        | Call::GroupSelect { .. }
        | Call::Open { .. }
        | Call::Receive { .. } => false,
    }
}
