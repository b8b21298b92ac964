//! What a backend can do.

/// What a backend can do. Callers and tests ask this, never which backend they are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Two layers on the same store reach each other's channels, from different processes too.
    pub cross_process: bool,
    /// [`flush`](crate::ChannelLayer::flush) empties the store for every process, not for this one alone.
    pub global_flush: bool,
    /// Calls of [`group_send`](crate::ChannelLayer::group_send) to one group that are under way at the same time take effect
    /// in the order in which their futures were first polled.
    pub orders_calls: bool,
    /// A full channel answers `send` with [`ChannelFull`](crate::Error::ChannelFull); otherwise the
    /// message is dropped where it would have been received, and counted there.
    pub reports_full: bool,
    /// The channels of one process share one capacity, so that a slow one can fill the others.
    pub shares_capacity: bool,
    /// Messages on named channels wait for a receiver that is not there yet.
    pub stores_messages: bool,
}

impl Capabilities {
    /// Sets [`cross_process`](Self::cross_process).
    pub fn with_cross_process(mut self, yes: bool) -> Self {
        self.cross_process = yes;
        self
    }

    /// Sets [`global_flush`](Self::global_flush).
    pub fn with_global_flush(mut self, yes: bool) -> Self {
        self.global_flush = yes;
        self
    }

    /// Sets [`orders_calls`](Self::orders_calls).
    pub fn with_orders_calls(mut self, yes: bool) -> Self {
        self.orders_calls = yes;
        self
    }

    /// Sets [`reports_full`](Self::reports_full).
    pub fn with_reports_full(mut self, yes: bool) -> Self {
        self.reports_full = yes;
        self
    }

    /// Sets [`shares_capacity`](Self::shares_capacity).
    pub fn with_shares_capacity(mut self, yes: bool) -> Self {
        self.shares_capacity = yes;
        self
    }

    /// Sets [`stores_messages`](Self::stores_messages).
    pub fn with_stores_messages(mut self, yes: bool) -> Self {
        self.stores_messages = yes;
        self
    }
}
