//! The state of a layer and its changes, for operators and consumers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::broadcast::{self, Receiver, error::RecvError};

use crate::sync::{Mutex, MutexGuard, lock};

/// The number of events kept for a slow listener: it misses older ones.
const EVENTS: usize = 64;

/// The mark of a state whose layer was closed.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// A change in the state of a layer's backend, or a loss of messages.
///
/// An outage of the backend, or of one of its servers, raises one [`Disconnected`](Self::Disconnected) and later one
/// [`Reconnected`](Self::Reconnected), however many connections it takes down. Without an outage and without a loss there
/// is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerEvent {
    /// The backend is out of reach. Messages sent by others in the meantime do not arrive.
    Disconnected,
    /// Messages of other processes were lost while the backend was in reach: a gap in their sequence numbers shows
    /// that they were sent and have never come in. Raised only by layers that
    /// [detect losses](crate::Capabilities::detects_loss).
    ///
    /// The groups and channels of the messages are unknown, since only their numbers are missing. Messages lost during an
    /// outage are not counted here: the gap of [`Reconnected`](Self::Reconnected) covers them.
    Lost {
        /// The number of messages that are missing, at least one.
        count: u64,
    },
    /// The backend is back and every channel of this process is live again, with all memberships that were added
    /// meanwhile. Also raised without a [`Disconnected`](Self::Disconnected) before it, by a layer that found that its
    /// backend had lost memberships and has made them again.
    Reconnected {
        /// The time for which messages may have been missed. It is never shorter than the outage.
        gap: Duration,
    },
}

/// The events of one layer, from the call on. A backend without faults has none.
#[derive(Debug)]
pub struct LayerEvents {
    receiver: Option<Receiver<LayerEvent>>,
    state: LayerState,
}

impl LayerEvents {
    /// Creates a stream without events and without an end, for layers that cannot lose their backend.
    pub fn none() -> Self {
        Self { receiver: None, state: LayerState::default() }
    }

    /// Whether the backend is in reach, now and later.
    pub fn state(&self) -> LayerState {
        self.state.clone()
    }

    /// Waits for the next event; `None` once the layer is closed. A late reader sees the newest events only.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<LayerEvent> {
        let Some(receiver) = &mut self.receiver else { return std::future::pending().await };
        loop {
            match receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Events whose [state](LayerEvents::state) is never away: [`EventSource`] tells both.
impl From<Receiver<LayerEvent>> for LayerEvents {
    fn from(receiver: Receiver<LayerEvent>) -> Self {
        Self { receiver: Some(receiver), state: LayerState::default() }
    }
}

/// The state of a layer's backend, to be read before each call for which it matters. Clones share it.
///
/// ```
/// use channel_layer::{ChannelLayer, MemoryLayer};
///
/// let layer = MemoryLayer::default();
/// let state = layer.events().state();
/// assert!(!state.is_away(), "memory is always in reach");
/// ```
#[derive(Clone, Debug, Default)]
pub struct LayerState(Arc<AtomicUsize>);

impl LayerState {
    /// Returns whether the backend is known to be out of reach. Calls that need it then fail at once with
    /// [`Unavailable`](crate::Error::Unavailable).
    ///
    /// True before the first connection, from the loss of a connection until every channel is live again, and once
    /// the layer is closed. Takes one atomic load.
    pub fn is_away(&self) -> bool {
        // Relaxed: a hint. A caller that sees it late gets the error from the call itself.
        self.0.load(Relaxed) != 0
    }
}

/// The sending side of [`LayerEvents`], for authors of backends.
///
/// ```
/// use channel_layer::EventSource;
///
/// let source = EventSource::new(1);
/// let state = source.subscribe().state();
/// assert!(state.is_away(), "not connected yet");
/// source.up();
/// assert!(!state.is_away());
/// source.down();
/// source.lost();
/// assert!(state.is_away());
/// ```
#[derive(Debug)]
pub struct EventSource {
    /// `None` once the layer is closed, which ends the listeners' streams. Locked for single accesses only.
    sender: Mutex<Option<broadcast::Sender<LayerEvent>>>,
    state: LayerState,
    /// Held while an event is raised, so that events are in the order of what they tell. Taken before `sender`.
    outage: Mutex<BackendOutage>,
}

/// The outage of a backend, which may have several servers.
#[derive(Debug, Default)]
struct BackendOutage {
    /// The number of servers that were lost and are not back.
    servers: usize,
    /// The longest gap of those that are back already.
    gap: Duration,
}

impl EventSource {
    /// Creates the events of a backend with this number of servers, each of them out of reach at first.
    pub fn new(servers: usize) -> Self {
        let state = LayerState(Arc::new(AtomicUsize::new(servers)));
        Self { sender: Mutex::new(Some(broadcast::Sender::new(EVENTS))), state, outage: Mutex::default() }
    }

    /// Notes that one server is in reach and its channels are live.
    pub fn up(&self) {
        let one_less = |away: usize| (away & !CLOSED > 0).then(|| away - 1);
        let _ = self.state.0.fetch_update(Relaxed, Relaxed, one_less); // none was away: as good
    }

    /// Notes that one server, which was in reach, is not any more.
    pub fn down(&self) {
        self.state.0.fetch_add(1, Relaxed);
    }

    /// Notes that a server, which was in reach, is lost. Raises [`Disconnected`](LayerEvent::Disconnected) if it is the
    /// first one.
    pub fn lost(&self) {
        let mut outage = self.outage();
        outage.servers += 1;
        if outage.servers == 1 {
            self.raise(LayerEvent::Disconnected);
        }
    }

    /// Notes that a server, which was [lost](Self::lost), is back after a gap, with all its channels. Raises
    /// [`Reconnected`](LayerEvent::Reconnected) with the longest gap once all servers are back.
    pub fn back(&self, gap: Duration) {
        let mut outage = self.outage();
        outage.servers = outage.servers.saturating_sub(1);
        outage.gap = outage.gap.max(gap);
        if outage.servers == 0 {
            let gap = std::mem::take(&mut outage.gap);
            self.raise(LayerEvent::Reconnected { gap });
        }
    }

    fn outage(&self) -> MutexGuard<'_, BackendOutage> {
        lock(&self.outage)
    }

    /// Sends an event to all listeners.
    pub fn raise(&self, event: LayerEvent) {
        if let Some(sender) = &*self.sender() {
            let _ = sender.send(event); // there may be no listener
        }
    }

    /// The events from now on. They end at once if the layer is closed.
    pub fn subscribe(&self) -> LayerEvents {
        let receiver = match &*self.sender() {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1,
        };
        LayerEvents { receiver: Some(receiver), state: self.state.clone() }
    }

    /// Ends the events. The layer is then away for good.
    pub fn end(&self) {
        self.state.0.fetch_or(CLOSED, Relaxed);
        self.sender().take();
    }

    fn sender(&self) -> MutexGuard<'_, Option<broadcast::Sender<LayerEvent>>> {
        lock(&self.sender)
    }
}

/// The events of a backend that cannot be lost.
impl Default for EventSource {
    fn default() -> Self {
        Self::new(0)
    }
}

/// The answer to [`ChannelLayer::health`](crate::ChannelLayer::health): the layer works, end to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The time that a message took through the backend and back; zero in memory.
    pub round_trip: Duration,
    /// Mailboxes open in this process.
    pub mailboxes: usize,
    /// Groups with members in this process.
    pub groups: usize,
}

impl Health {
    /// Creates a report.
    pub fn new(round_trip: Duration, mailboxes: usize, groups: usize) -> Self {
        Self { round_trip, mailboxes, groups }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn away_while_any_server_is() {
        let source = EventSource::new(2);
        let state = source.subscribe().state();
        let mut seen = vec![state.is_away()];
        for change in [
            EventSource::up,
            EventSource::up,
            EventSource::down,
            EventSource::down,
            EventSource::up,
            EventSource::up,
            EventSource::up, // one too many
            EventSource::end,
            EventSource::up,
        ] {
            change(&source);
            seen.push(state.is_away());
        }
        assert_eq!(seen, [true, true, false, true, true, true, false, false, true, true]);
        assert!(!LayerEvents::none().state().is_away());
    }

    #[tokio::test]
    async fn one_outage_for_several_servers() {
        let source = EventSource::new(2);
        let mut events = source.subscribe();
        source.lost();
        source.lost();
        source.back(Duration::from_secs(3));
        source.lost();
        source.back(Duration::from_secs(1));
        source.back(Duration::from_secs(2));
        source.end();
        assert_eq!(events.next().await, Some(LayerEvent::Disconnected));
        assert_eq!(events.next().await, Some(LayerEvent::Reconnected { gap: Duration::from_secs(3) }));
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn events_end_with_the_layer() {
        let source = EventSource::default();
        let mut before = source.subscribe();
        source.raise(LayerEvent::Disconnected);
        source.end();
        assert_eq!(before.next().await, Some(LayerEvent::Disconnected));
        assert_eq!(before.next().await, None);
        assert_eq!(source.subscribe().next().await, None);
    }
}
