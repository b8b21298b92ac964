//! What one connection may take, in bytes and in time.

use std::time::Duration;

/// The limits of every connection. Each has a default, and the default a reason.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message of the client. More closes with 1009. 1 MiB, as Daphne and NATS have it: a chat needs
    /// far less, and whoever needs more knows.
    pub max_message_size: usize,
    /// How long a consumer may take to decide about a client. 10 s: longer than any sane look-up, shorter than a
    /// browser's patience.
    pub accept_timeout: Duration,
    /// A client that is silent for so long is pinged. 20 s, as uvicorn and Daphne have it: below the idle timeouts
    /// of common proxies (60 s) by a margin.
    pub ping_interval: Duration,
    /// A client that does not answer a ping within this time is gone. 20 s.
    pub ping_timeout: Duration,
    /// A client that takes nothing of what is sent for so long is closed with 1013. 20 s.
    pub write_timeout: Duration,
    /// How long the other side may take to answer a close. 5 s; a dead one should not hold memory for longer.
    pub close_timeout: Duration,
    /// The buffer that each connection reads into, in bytes, kept while it is idle. 1 KiB: a chat message fits,
    /// and ten thousand idle connections take 10 MiB. Larger ones make large messages cheaper.
    pub read_buffer_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_size: 1 << 20,
            accept_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            read_buffer_size: 1 << 10,
        }
    }
}
