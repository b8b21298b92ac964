//! The abilities of a backend.

/// The abilities of a backend. Callers and tests check these, never the type of the backend.
///
/// All fields are `false` by default. A backend claims only abilities that hold without exception. The conformance
/// suite (feature `conformance`) tests every claim.
///
/// ```
/// use channel_layer::{Capabilities, ChannelLayer, MemoryLayer};
///
/// let mine = Capabilities::default().with_cross_process(true).with_shares_work(true);
/// assert!(mine.shares_work && !mine.stores_messages);
///
/// assert!(MemoryLayer::default().capabilities().stores_messages);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`group_add`](crate::ChannelLayer::group_add), [`group_discard`](crate::ChannelLayer::group_discard) and
    /// [`group_discard_all`](crate::ChannelLayer::group_discard_all) reach a channel of another process, through the
    /// process that owns it. Otherwise they return [`Unsupported`](crate::Error::Unsupported) for such a channel.
    pub adds_foreign: bool,
    /// Two layers on the same store reach each other's channels, from different processes too.
    pub cross_process: bool,
    /// Messages lost while the layer is connected raise [`Lost`](crate::LayerEvent::Lost). Formats without sequence
    /// numbers cannot detect them.
    pub detects_loss: bool,
    /// [`flush`](crate::ChannelLayer::flush) empties the store for every process, not only for this one.
    pub global_flush: bool,
    /// Concurrent calls of [`group_send`](crate::ChannelLayer::group_send) to one group take effect in the order in
    /// which their futures were first polled.
    pub orders_calls: bool,
    /// A full channel answers `send` with [`ChannelFull`](crate::Error::ChannelFull); otherwise the
    /// message is dropped where it would have been received, and counted there.
    pub reports_full: bool,
    /// [`group_select`](crate::ChannelLayer::group_select) takes filters and passive members, for mailboxes of this
    /// process: in memory, and over a [message bus](crate::backbone) in any format. Otherwise it returns
    /// [`Unsupported`](crate::Error::Unsupported) for them.
    pub selects: bool,
    /// The channels of one process share one capacity, so that a slow one can fill the others.
    pub shares_capacity: bool,
    /// Each message on a named channel goes to exactly one of its receivers, whichever processes they are in. Holds
    /// with and without [`stores_messages`](Self::stores_messages).
    pub shares_work: bool,
    /// Messages on named channels are stored until there is a receiver.
    pub stores_messages: bool,
}

impl Capabilities {
    /// Sets [`adds_foreign`](Self::adds_foreign).
    pub fn with_adds_foreign(mut self, yes: bool) -> Self {
        self.adds_foreign = yes;
        self
    }

    /// Sets [`cross_process`](Self::cross_process).
    pub fn with_cross_process(mut self, yes: bool) -> Self {
        self.cross_process = yes;
        self
    }

    /// Sets [`detects_loss`](Self::detects_loss).
    pub fn with_detects_loss(mut self, yes: bool) -> Self {
        self.detects_loss = yes;
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

    /// Sets [`selects`](Self::selects).
    pub fn with_selects(mut self, yes: bool) -> Self {
        self.selects = yes;
        self
    }

    /// Sets [`shares_capacity`](Self::shares_capacity).
    pub fn with_shares_capacity(mut self, yes: bool) -> Self {
        self.shares_capacity = yes;
        self
    }

    /// Sets [`shares_work`](Self::shares_work).
    pub fn with_shares_work(mut self, yes: bool) -> Self {
        self.shares_work = yes;
        self
    }

    /// Sets [`stores_messages`](Self::stores_messages).
    pub fn with_stores_messages(mut self, yes: bool) -> Self {
        self.stores_messages = yes;
        self
    }
}
