//! The options of a connection.

/// The place of a connection's layer among those of its service. A byte, because every connection has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerNumber(pub(crate) u8);

/// The options of a connection. They differ from [`CLIENT`](Self::CLIENT) where the holder of the [`Wire`](super::Wire) does
/// more, or less, than a transport.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(crate) struct Profile {
    /// Whether the holder buffers input. A shutdown then stops the holder from taking more, and the wire takes
    /// everything that has been buffered.
    pub(crate) buffers_input: bool,
    /// Whether the application is left alone once the client is known to be admitted.
    pub(crate) decides_only: bool,
    /// Whether the connection joins its user's group when it is accepted.
    pub(crate) identifies_user: bool,
    /// Whether it is one of the service's connections, in numbers and in a drain.
    pub(crate) is_counted: bool,
    /// The layer whose events it gets.
    pub(crate) layer: LayerNumber,
    /// Whether failures of the application are logged.
    pub(crate) reports_failures: bool,
    /// Whether messages that found the mailbox full are reported as [`Gap`](super::Outgoing::Gap).
    pub(crate) reports_gaps: bool,
    /// Whether equal frames that many connections make of one event are kept once, as
    /// [`Shared`](super::Outgoing::Shared).
    pub(crate) shares_frames: bool,
}

impl Profile {
    /// A client's own connection.
    pub(crate) const CLIENT: Self = Self {
        buffers_input: false,
        decides_only: false,
        identifies_user: true,
        is_counted: true,
        layer: LayerNumber(0),
        reports_failures: true,
        reports_gaps: false,
        shares_frames: false,
    };
}

impl Default for Profile {
    fn default() -> Self {
        Self::CLIENT
    }
}
