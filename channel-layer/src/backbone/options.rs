//! Settings of the engine.

use std::time::Duration;

use crate::config::LayerConfig;

/// The shortest time of a setting. Zero would always or never be met.
const SHORTEST: Duration = Duration::from_millis(1);

/// Settings of a [`HubLayer`](super::HubLayer).
///
/// ```
/// use std::time::Duration;
/// use channel_layer::{LayerConfig, backbone::HubOptions};
///
/// let options = HubOptions::new(LayerConfig::default()).with_timeout(Duration::from_millis(300));
/// assert_eq!(options.heartbeat, Duration::from_millis(500));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubOptions {
    /// The settings that all layers have.
    pub layer: LayerConfig,
    /// The longest time for one call of a link before the link counts as broken. 1 s.
    pub timeout: Duration,
    /// The longest time for connecting, login included. 1 s.
    pub connect_timeout: Duration,
    /// The interval of [`ping`](super::BackboneLink::ping). 0.5 s.
    pub heartbeat: Duration,
    /// The interval at which a message is sent through the bus and back. 5 s.
    pub probe: Duration,
    /// The time for which a subscription is kept after the last member of its group in this process. 2 s, so that
    /// reloading a page costs no round trip.
    pub linger: Duration,
    /// The longest message in bytes, as it is published, that is sent or read. 16 MiB.
    pub max_message: usize,
    /// Whether links have [`queues`](super::BackboneLink::queues) for named channels. False.
    pub queues: bool,
    /// Whether [`subscribe_shared`](super::BackboneLink::subscribe_shared) has the bus choose one receiver for each
    /// message. False.
    pub shared_subscriptions: bool,
}

impl HubOptions {
    /// The lower bound of [`max_message`](Self::max_message), below which the engine's own messages would not fit.
    pub const MIN_MESSAGE: usize = 512;

    /// The defaults, with these settings of the layer.
    pub fn new(layer: LayerConfig) -> Self {
        Self {
            layer,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            heartbeat: Duration::from_millis(500),
            probe: Duration::from_secs(5),
            linger: Duration::from_secs(2),
            max_message: 16 << 20,
            queues: false,
            shared_subscriptions: false,
        }
    }

    /// Sets [`timeout`](Self::timeout).
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets [`heartbeat`](Self::heartbeat).
    pub fn with_heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Sets [`probe`](Self::probe).
    pub fn with_probe(mut self, interval: Duration) -> Self {
        self.probe = interval;
        self
    }

    /// Sets [`linger`](Self::linger).
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets [`max_message`](Self::max_message), in bytes.
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets [`queues`](Self::queues).
    pub fn with_queues(mut self, yes: bool) -> Self {
        self.queues = yes;
        self
    }

    /// Sets [`shared_subscriptions`](Self::shared_subscriptions).
    pub fn with_shared_subscriptions(mut self, yes: bool) -> Self {
        self.shared_subscriptions = yes;
        self
    }

    /// Moves every setting to its nearest bound, so that adding a setting to a clock cannot overflow.
    ///
    /// Times are at most [`LayerConfig::LONGEST`] and, except for `linger`, at least a millisecond.
    pub fn bounded(self) -> Self {
        let between = |time: Duration| time.clamp(SHORTEST, LayerConfig::LONGEST);
        Self {
            layer: self.layer.bounded(),
            timeout: between(self.timeout),
            connect_timeout: between(self.connect_timeout),
            heartbeat: between(self.heartbeat),
            probe: between(self.probe),
            linger: self.linger.min(LayerConfig::LONGEST),
            max_message: self.max_message.max(Self::MIN_MESSAGE),
            ..self
        }
    }

    /// The longest time for a complete call: the wait in the queue, and the round trip.
    pub(super) fn call_timeout(&self) -> Duration {
        self.timeout * 2
    }
}

impl Default for HubOptions {
    fn default() -> Self {
        Self::new(LayerConfig::default())
    }
}
