//! How sessions are kept.

use std::time::Duration;

/// Turns sessions on: see [`Protocols::resume`](crate::Protocols::resume). All have defaults.
///
/// ```
/// use std::time::Duration;
/// use ws_consumer::Resume;
///
/// let mut resume = Resume::default();
/// resume.resume_ttl = Duration::from_secs(120); // trains have tunnels
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resume {
    /// For how long a session outlives the last connection that carried it: 30 s. Its consumer, and its place in its
    /// groups, stay for so long.
    pub resume_ttl: Duration,
    /// Bytes of sent frames that a session keeps until the client has acknowledged them: 256 KiB. A client that comes
    /// back later than that is told of a gap.
    pub log_bytes: usize,
    /// Frames that it keeps: 1,024.
    pub log_messages: usize,
    /// How long a long poll waits for a frame: 10 s, less than any proxy's patience. Never longer than
    /// [`ping_interval`](crate::Limits::ping_interval), within which clients are to be heard of.
    pub window: Duration,
    /// Frames in one answer or one request: 100.
    pub batch: usize,
    /// Sessions that there may be in this process: 100,000. One more is refused with 503. One that has ended takes no place.
    pub max_sessions: usize,
    /// Sessions without a connection that there may be of one address: 2,048. One more ends the oldest of them. Addresses of
    /// IPv6 count by their /64, and clients whose address is not known as one.
    pub max_waiting_per_address: usize,
    /// Bytes that all sessions together may take: 256 MiB. Counted is what they keep of frames, in either direction, with what
    /// the memory for it adds, a message that several keep once; for a session without a connection also the headers of its
    /// request, and 8 KiB for the rest. Beyond it sessions without a connection end, the oldest first; where there are none,
    /// the others keep nothing that they have sent, and new ones are refused with 503.
    pub max_bytes: usize,
    /// Bytes of them that the sessions without a connection, and the requests under way, of one address may take: 16 MiB.
    /// Beyond it the oldest of these sessions end; where there are none, the request is refused with 503.
    pub max_bytes_per_address: usize,
    /// How long another process may take to answer for a session of its own: 2 s. Then it counts as gone.
    pub reach: Duration,
}

impl Default for Resume {
    fn default() -> Self {
        Self {
            resume_ttl: Duration::from_secs(30),
            log_bytes: 256 << 10,
            log_messages: 1024,
            window: Duration::from_secs(10),
            batch: 100,
            max_sessions: 100_000,
            max_waiting_per_address: 2048,
            max_bytes: 256 << 20,
            max_bytes_per_address: 16 << 20,
            reach: Duration::from_secs(2),
        }
    }
}
