//! The settings of resumable sessions.

use std::{sync::Arc, time::Duration};

use super::token::ProcessId;
use crate::{
    limits::{Limits, cut},
    scope::Scope,
};

/// Settings of resumable sessions, which [`Protocols::resume`](crate::Protocols::resume) turns on. All have defaults.
///
/// ```
/// use std::time::Duration;
/// use ws_consumer::Resume;
///
/// let mut resume = Resume::default();
/// resume.ttl = Duration::from_secs(120); // trains have tunnels
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resume {
    /// The time for which a session outlives the last connection that carried it: 30 s. Its consumer keeps running, and
    /// stays in its groups, during that time.
    pub ttl: Duration,
    /// The bytes of sent frames that a session keeps until the client has acknowledged them: 256 KiB. A client that comes
    /// back later than that gets a gap.
    pub log_bytes: usize,
    /// The frames that it keeps: 1,024.
    pub log_messages: usize,
    /// The time for which a long poll waits for a frame: 10 s, less than the timeout of common proxies. Limited by
    /// [`ping_interval`](crate::Limits::ping_interval), within which each client has to send something.
    pub poll_timeout: Duration,
    /// The frames in one answer or one request: 100.
    pub batch_messages: usize,
    /// The sessions in this process: 100,000. One more is refused with 503. Sessions that have ended do not count.
    pub max_sessions: usize,
    /// The sessions without a connection per address: 2,048. One more ends the oldest of them. IPv6 addresses count by
    /// their /64, and clients whose address is not known as one.
    pub max_waiting_per_address: usize,
    /// The bytes that all sessions together may take: 256 MiB. Frames count, in either direction, with the memory overhead
    /// of keeping them; a message that several sessions keep counts once. For a session without a connection the headers of
    /// its request count as well, and 8 KiB for the rest. Beyond the limit sessions without a connection end, the oldest
    /// first; where there are none, the others keep no frames that they have sent, and new ones are refused with 503.
    pub max_bytes: usize,
    /// The bytes that the sessions without a connection, and the requests under way, of one address may take: 16 MiB.
    /// Beyond it the oldest of these sessions end; where there are none, the request is refused with 503.
    pub max_bytes_per_address: usize,
    /// The time that another process may take to answer for its session: 2 s. Then it counts as gone.
    pub forward_timeout: Duration,
}

impl Default for Resume {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            log_bytes: 256 << 10,
            log_messages: 1024,
            poll_timeout: Duration::from_secs(10),
            batch_messages: 100,
            max_sessions: 100_000,
            max_waiting_per_address: 2048,
            max_bytes: 256 << 20,
            max_bytes_per_address: 16 << 20,
            forward_timeout: Duration::from_secs(2),
        }
    }
}

/// Marks a session that begins in place of one that is gone: in the [extensions](crate::Scope::extensions) of its scope. The
/// client may have missed frames, and knows.
///
/// ```
/// use ws_consumer::{LostSession, Scope};
///
/// fn needs_history(scope: &Scope) -> bool {
///     scope.extensions.get::<LostSession>().is_some()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostSession;

impl LostSession {
    /// Marks a scope. `lost` is the cursor of the session that is gone, if there is one.
    pub(super) fn mark(scope: &mut Scope, lost: Option<u64>) {
        if lost.is_some() {
            scope.extensions.insert(Self);
        }
    }
}

/// The settings that all sessions of a service share.
pub(super) struct Settings {
    pub(super) process: ProcessId,
    pub(super) resume: Resume,
    pub(super) limits: Arc<Limits>,
}

impl Settings {
    pub(super) fn new(process: ProcessId, mut resume: Resume, limits: Arc<Limits>) -> Self {
        cut([&mut resume.ttl, &mut resume.poll_timeout, &mut resume.forward_timeout]);
        // The polls of a client are its signs of life.
        resume.poll_timeout = resume.poll_timeout.min(limits.ping_interval);
        Self { process, resume, limits }
    }

    /// The time for which a session outlives its last carrier. A client that polls is not away between two polls.
    pub(super) fn time_away(&self, polls: bool) -> Duration {
        let between = if polls { self.limits.ping_timeout } else { Duration::ZERO };
        self.resume.ttl + between
    }
}
