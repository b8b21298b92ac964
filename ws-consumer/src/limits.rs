//! What one connection may take, in bytes and in time.

use std::time::Duration;

use crate::{frame::Close, wire::OutputLimits};

/// The limits of every connection. All have defaults; [the page about them](crate::docs::defaults) says why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How long a consumer may take to decide about a client: 10 s. Then the client gets 503.
    pub accept_timeout: Duration,
    /// How long the other side may take to answer a close: 5 s. Then the connection is dropped.
    pub close_timeout: Duration,
    /// Control frames that a client may send at once: 60. One more closes with 1008.
    pub control_burst: u32,
    /// Control frames that a client may send per second in the long run: 30.
    pub control_rate: u32,
    /// A client that sends no message for so long is closed with 1000: never. Looked at once per ping interval. A session is
    /// closed when its client has sent none over anything that carried it.
    pub idle_timeout: Option<Duration>,
    /// A connection that is so old is closed with 1001: never. So is a session, whatever carries it.
    pub max_age: Option<Duration>,
    /// Fragments of one message of the client: 1,024. One more closes with 1008.
    pub max_fragments: u32,
    /// Bytes of one message of the client: 1 MiB. More closes with 1009.
    pub max_message_size: usize,
    /// How long a message that has begun may take to arrive: 30 s. Longer closes with 1008. A request's body may take so
    /// long too, and a second longer for each 500 bytes of it; then it is refused with 408.
    pub message_timeout: Duration,
    /// What may wait for a slow client, and what happens beyond it.
    pub output: OutputLimits,
    /// Every client is pinged once in so long: 20 s. One that falls silent is gone this and the `ping_timeout` after its
    /// last sign of life, at the latest.
    pub ping_interval: Duration,
    /// A client that does not answer a ping within this time is gone: 20 s.
    pub ping_timeout: Duration,
    /// The buffer that a connection keeps while its client speaks, in bytes: 512. A quiet one has none. Larger messages
    /// are read with a buffer of the thread, so this is for memory, not for speed.
    pub read_buffer_size: usize,
    /// A client that takes nothing of what is sent for so long is dropped, as 1013: 20 s.
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

impl Limits {
    /// The same for what only carries: how long its client may stay is up to what is carried.
    pub(crate) fn of_carriers(&self) -> Self {
        Self { idle_timeout: None, max_age: None, ..self.clone() }
    }
}

/// What an idle client is told.
pub(crate) fn idle() -> Close {
    Close::new(Close::NORMAL, "idle")
}

/// What a client is told that has been there for too long.
pub(crate) fn too_old() -> Close {
    Close::new(Close::GOING_AWAY, "the connection is too old")
}
