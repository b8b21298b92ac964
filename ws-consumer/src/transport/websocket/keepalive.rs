//! Is the client still there? Without clocks: the connection tells when time has passed.

use std::time::Duration;

use crate::transport::Limits;

/// What has been heard since the last look.
#[derive(Debug, Default)]
pub(super) struct Keepalive {
    heard: bool,
    pinged: bool,
}

/// What to do now, and when to look again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Gone,
    Ping(Duration),
    Wait(Duration),
}

impl Keepalive {
    /// The client said something, whatever it was. Cheap: no clock is read, no timer moved.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// The time of the last look has passed.
    pub(super) fn look(&mut self, limits: &Limits) -> Look {
        if std::mem::take(&mut self.heard) {
            self.pinged = false;
            return Look::Wait(limits.ping_interval);
        }
        if std::mem::replace(&mut self.pinged, true) {
            return Look::Gone;
        }
        Look::Ping(limits.ping_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_pinged_and_then_gone() {
        let (limits, mut keepalive) = (Limits::default(), Keepalive::default());
        keepalive.heard();
        assert_eq!(keepalive.look(&limits), Look::Wait(limits.ping_interval));
        assert_eq!(keepalive.look(&limits), Look::Ping(limits.ping_timeout));
        assert_eq!(keepalive.look(&limits), Look::Gone);
    }

    #[test]
    fn an_answered_ping_starts_over() {
        let (limits, mut keepalive) = (Limits::default(), Keepalive::default());
        for _ in 0..3 {
            assert_eq!(keepalive.look(&limits), Look::Ping(limits.ping_timeout));
            keepalive.heard();
            assert_eq!(keepalive.look(&limits), Look::Wait(limits.ping_interval));
        }
    }
}
