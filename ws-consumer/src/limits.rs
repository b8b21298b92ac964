//! [`Limits`] of a connection, in bytes and in time.

use std::time::Duration;

use crate::{frame::Close, wire::OutputLimits};

/// The limits of every connection. All have defaults, whose reasons are on [their page](crate::docs::defaults).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The time limit for a consumer's decision about a client: 10 s. Then the client gets 503.
    pub accept_timeout: Duration,
    /// The time limit for the peer's reply to a close: 5 s. Then the connection is dropped.
    pub close_timeout: Duration,
    /// The number of control frames that a client may send at once: 60. More close with 1008.
    pub control_burst: u32,
    /// The number of control frames that a client may send per second in the long run: 30.
    pub control_rate: u32,
    /// The time after which a client without a message is closed with 1000: never. Checked once per ping interval. A session
    /// counts the messages over all its carriers.
    pub idle_timeout: Option<Duration>,
    /// The age at which a connection is closed with 1001: never. A session has one age over all its carriers.
    pub max_age: Option<Duration>,
    /// The number of fragments of one message: 1,024. More close with 1008.
    pub max_fragments: u32,
    /// The number of bytes of one message: 1 MiB. More close with 1009.
    pub max_message_size: usize,
    /// The time limit for a message that has begun: 30 s. More closes with 1008. A request's body has the same limit, and one
    /// second more for each 500 bytes; then the request is refused with 408.
    pub message_timeout: Duration,
    /// The limits of output that waits for a slow client, and the policy beyond them.
    pub output: OutputLimits,
    /// The interval between pings to each client: 20 s. A client that falls silent is closed at the latest this interval and
    /// the `ping_timeout` after its last sign of life.
    pub ping_interval: Duration,
    /// The time limit for the reply to a ping: 20 s.
    pub ping_timeout: Duration,
    /// The size of the buffer of a connection whose client sends, in bytes: 512. A quiet one has none. Larger messages are read
    /// through a buffer of the thread, so this setting affects memory, not speed.
    pub read_buffer_size: usize,
    /// The time after which a client that takes no output is dropped, as 1013: 20 s.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accept_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            control_burst: 60,
            control_rate: 30,
            idle_timeout: None,
            max_age: None,
            max_fragments: 1024,
            max_message_size: 1 << 20,
            message_timeout: Duration::from_secs(30),
            output: OutputLimits::default(),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            read_buffer_size: 512,
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// The longest time of a setting. Beyond it a clock's addition could overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Cuts times that are meant as "never" to what can be added to the present.
pub(crate) fn cut<const N: usize>(times: [&mut Duration; N]) {
    times.into_iter().for_each(|time| *time = (*time).min(LONGEST));
}

impl Limits {
    /// Returns limits whose times can be added to the present.
    pub(crate) fn with_times_cut(mut self) -> Self {
        let Self {
            accept_timeout,
            close_timeout,
            message_timeout,
            ping_interval,
            ping_timeout,
            write_timeout,
            ..
        } = &mut self;
        cut([accept_timeout, close_timeout, message_timeout, ping_interval, ping_timeout, write_timeout]);
        self.idle_timeout.iter_mut().chain(&mut self.max_age).for_each(|time| cut([time]));
        self
    }

    /// Returns the limits of connections that carry sessions: the client's idle time and age are the session's.
    pub(crate) fn without_lifetime(&self) -> Self {
        Self { idle_timeout: None, max_age: None, ..self.clone() }
    }
}

/// The close of an idle client.
pub(crate) fn idle() -> Close {
    Close::new(Close::NORMAL, "idle")
}

/// The close of a connection beyond the maximum age.
pub(crate) fn too_old() -> Close {
    Close::new(Close::GOING_AWAY, "the connection is too old")
}
