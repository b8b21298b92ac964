//! What a layer says about itself, to operators and consumers.

use std::time::Duration;

use tokio::sync::broadcast::{Receiver, error::RecvError};

/// A change in the state of a layer's backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerEvent {
    /// The backend is out of reach. Messages sent by others in the meantime do not arrive.
    Disconnected,
    /// The backend is back and every channel of this process is live again.
    Reconnected {
        /// For how long messages may have been missed.
        gap: Duration,
    },
}

/// The events of one layer, from the moment of the call on. A backend without faults never says anything.
#[derive(Debug)]
pub struct LayerEvents(Option<Receiver<LayerEvent>>);

impl LayerEvents {
    /// Events that never come, nor an end of them: for layers that cannot lose their backend.
    pub fn none() -> Self {
        Self(None)
    }

    /// The next event, or `None` once the layer is closed. Who reads late sees the newest events only.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<LayerEvent> {
        let Some(receiver) = &mut self.0 else { return std::future::pending().await };
        loop {
            match receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl From<Receiver<LayerEvent>> for LayerEvents {
    fn from(receiver: Receiver<LayerEvent>) -> Self {
        Self(Some(receiver))
    }
}

/// The answer to [`ChannelLayer::health`](crate::ChannelLayer::health): the layer works, end to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How long a message took through the backend and back; zero in memory.
    pub round_trip: Duration,
    /// Mailboxes open in this process.
    pub mailboxes: usize,
    /// Groups with members in this process.
    pub groups: usize,
}

impl Health {
    /// A health report.
    pub fn new(round_trip: Duration, mailboxes: usize, groups: usize) -> Self {
        Self { round_trip, mailboxes, groups }
    }
}
