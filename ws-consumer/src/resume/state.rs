//! The state of a session behind its lock, and the rules by which it changes.

use std::{collections::VecDeque, mem, sync::Arc, task::Waker};

use tokio::time::Instant;

use super::{
    inbox::SessionInbox,
    lifetime::Lifetime,
    log::{Log, Payload},
    protocol::Gap,
    registry::REPORT_STEP,
    token::TokenSecret,
};
use crate::{
    frame::Close,
    limits::Limits,
    scope::Transport,
    wire::{Accept, Outgoing, Refuse},
};

/// The state of a session behind its lock.
pub(super) struct SessionState {
    pub(super) admission: Admission,
    /// Sent frames.
    pub(super) log: Log,
    /// Frames of the client.
    pub(super) inbox: SessionInbox,
    reported: ReportedState,
    pub(super) secrets: Secrets,
    pub(super) user: Option<Arc<str>>,
    pub(super) subprotocol: Option<String>,
    pub(super) carrier: Option<AttachedCarrier>,
    /// The number of carriers so far.
    carriers: u64,
    /// The end of the session, unless a carrier comes before.
    pub(super) expires: Instant,
    /// Until this time a client that polls counts as connected, so that frames sent between two polls are kept.
    pub(super) between_polls: Option<Instant>,
    /// Limits how long the client may stay, if `Limits` say so. Set once it was admitted.
    pub(super) lifetime: Option<Lifetime>,
    /// The client's last request while it had an event stream, if any.
    pub(super) last_heard: Option<Instant>,
    /// Set when the client, or time, has ended the session, until the application is notified.
    pub(super) ending: Option<Close>,
    /// Whether the session is forgotten as soon as it has ended, because the client knows of its end.
    pub(super) is_forgettable: bool,
    /// Whether its memory was needed for others. No client can resume it any more.
    pub(super) is_evicted: bool,
    pub(super) close: Option<Close>,
    /// Whether the application has ended.
    pub(super) has_ended: bool,
    /// Wakes the session's task.
    pub(super) task: Option<Waker>,
    /// Wakes the request that opens the session.
    pub(super) opener: Option<Waker>,
}

/// The application's decision about the client. Its content is taken by the request that opens the session.
pub(super) enum Admission {
    Undecided,
    Accepted(Option<Accept>),
    Refused(Option<Refuse>),
}

/// The secrets that prove a client's right to the session.
pub(super) struct Secrets {
    newest: TokenSecret,
    /// Older ones that are still valid, because no newer one has been used: the answer with the newer one may be lost.
    former: VecDeque<TokenSecret>,
}

/// The largest number of former secrets: attempts to resume in a row without a sign of life.
const FORMER: usize = 16;

/// The state that was last reported to the registry.
#[derive(Clone, Copy, Default)]
struct ReportedState {
    kept: usize,
    waits: bool,
    has_ended: bool,
}

/// A change for the registry, with the bytes that the session keeps.
pub(super) enum RegistryChange {
    Carried(usize),
    Ended(usize),
    Kept(usize),
    Waiting(usize),
}

/// The carrier of the moment.
pub(super) struct AttachedCarrier {
    pub(super) number: u64,
    pub(super) kind: CarrierKind,
    pub(super) waker: Option<Waker>,
}

/// The properties of a carrier.
#[derive(Clone, Copy)]
pub(super) struct CarrierKind {
    /// Whether it sends frames as they come, not in answers.
    pub(super) is_stream: bool,
    /// Whether the client sends its frames in other requests. A carrier for both directions has pings for signs of life.
    pub(super) is_one_way: bool,
}

/// Unsent bytes beyond which no frames are taken from a client.
const BEHIND: usize = 64 << 10;

impl CarrierKind {
    pub(super) const POLL: Self = Self { is_stream: false, is_one_way: false };
}

impl From<Transport> for CarrierKind {
    fn from(transport: Transport) -> Self {
        Self { is_stream: transport.is_stream(), is_one_way: transport == Transport::EventStream }
    }
}

impl Secrets {
    pub(super) fn new(newest: TokenSecret) -> Self {
        Self { newest, former: VecDeque::new() }
    }

    pub(super) fn newest(&self) -> TokenSecret {
        self.newest
    }

    pub(super) fn is_newest(&self, secret: &TokenSecret) -> bool {
        self.newest.is(secret)
    }

    pub(super) fn are_valid(&self, secret: &TokenSecret) -> bool {
        self.is_newest(secret) || self.former.iter().any(|former| former.is(secret))
    }

    /// Replaces the newest secret. The former ones stay valid: the answer with the new one may be lost while another
    /// attempt is under way.
    pub(super) fn replace(&mut self, new: TokenSecret) {
        let known = mem::replace(&mut self.newest, new);
        if self.former.len() == FORMER {
            self.former.pop_front();
        }
        self.former.push_back(known);
    }

    /// Forgets the former secrets: the client has the newest one.
    pub(super) fn confirm(&mut self) {
        self.former = VecDeque::new();
    }
}

impl SessionState {
    pub(super) fn new(log: Log, secret: TokenSecret, expires: Instant) -> Self {
        Self {
            admission: Admission::Undecided,
            log,
            inbox: SessionInbox::default(),
            reported: ReportedState::default(),
            secrets: Secrets::new(secret),
            user: None,
            subprotocol: None,
            carrier: None,
            carriers: 0,
            expires,
            between_polls: None,
            lifetime: None,
            last_heard: None,
            ending: None,
            is_forgettable: false,
            is_evicted: false,
            close: None,
            has_ended: false,
            task: None,
            opener: None,
        }
    }

    pub(super) fn has_valid(&self, secret: &TokenSecret) -> bool {
        !self.is_evicted && self.secrets.are_valid(secret)
    }

    /// Whether the session has ended, or is about to.
    pub(super) fn is_over(&self) -> bool {
        self.close.is_some() || self.ending.is_some()
    }

    /// Returns the change that the registry does not know yet. Small changes are collected.
    pub(super) fn take_change(&mut self) -> Option<RegistryChange> {
        let kept = self.log.own() + self.inbox.memory();
        let fresh = self.log.fresh();
        let has_changed = kept.abs_diff(self.reported.kept).saturating_add(*fresh) >= REPORT_STEP;
        // Before its first carrier the session is held by the request that opens it.
        let (before, waits) = (self.reported, self.carriers > 0 && self.carrier.is_none());
        let has_ended = before.has_ended || self.has_ended;
        if !has_changed && waits == before.waits && has_ended == before.has_ended {
            return None;
        }
        *fresh = 0;
        self.reported = ReportedState { kept, waits, has_ended };
        Some(match before {
            ReportedState { has_ended: false, .. } if has_ended => RegistryChange::Ended(kept),
            ReportedState { waits: false, .. } if waits => RegistryChange::Waiting(kept),
            ReportedState { waits: true, .. } if !waits => RegistryChange::Carried(kept),
            _ => RegistryChange::Kept(kept),
        })
    }

    /// Whether a client that is sent frames as they come is slow to take them.
    pub(super) fn is_behind(&self) -> bool {
        self.carrier.as_ref().is_some_and(|carrier| carrier.kind.is_stream) && self.log.unsent() >= BEHIND
    }

    /// Whether output of the application can be logged. Without a client the oldest frames make room; with one the output
    /// waits in the wire, which has its own limits.
    pub(super) fn has_room(&self) -> bool {
        !self.is_carried() || self.log.has_room()
    }

    pub(super) fn is_carried(&self) -> bool {
        self.carrier.is_some() || self.between_polls.is_some()
    }

    /// Takes over an output of the application.
    pub(super) fn put(&mut self, output: Outgoing) {
        match output {
            Outgoing::Accept(accept) => self.admission = Admission::Accepted(Some(accept)),
            Outgoing::Refuse(refuse) => self.admission = Admission::Refused(Some(refuse)),
            Outgoing::Frame(frame) => self.log.push(frame.into(), self.is_carried()),
            Outgoing::Encoded(message) | Outgoing::Shared(message) => {
                self.log.push(Payload::Shared(message), self.is_carried())
            }
            Outgoing::Close(close) => _ = self.close.get_or_insert(close),
            Outgoing::Gap => self.log.push(Payload::Missing, self.is_carried()),
            Outgoing::Body { .. } | Outgoing::Head(_) => {}
        }
    }

    /// Attaches a new carrier in place of the present one, and returns its number.
    pub(super) fn attach(&mut self, kind: CarrierKind) -> u64 {
        self.carriers += 1;
        self.between_polls = None;
        let before = self.carrier.replace(AttachedCarrier { number: self.carriers, kind, waker: None });
        before.and_then(|carrier| carrier.waker).into_iter().for_each(Waker::wake);
        self.carriers
    }

    pub(super) fn detach(&mut self, expires: Instant) {
        if let Some(waker) = self.carrier.take().and_then(|carrier| carrier.waker) {
            waker.wake();
        }
        self.expires = expires;
    }

    /// The attached carrier, if it has this number.
    pub(super) fn carrier_with(&self, number: u64) -> Option<&AttachedCarrier> {
        self.carrier.as_ref().filter(|carrier| carrier.number == number)
    }

    /// Sends the frames after `cursor` next, and returns those of them that are lost.
    pub(super) fn rewind(&mut self, cursor: u64) -> Option<Gap> {
        let before = self.log.before();
        let gap = (cursor < before).then(|| Gap { from: cursor + 1, to: Some(before) });
        self.log.rewind(cursor);
        gap
    }

    /// The time at which a client with an event stream counts as gone, after its last request.
    pub(super) fn silent_at(&self, limits: &Limits) -> Option<Instant> {
        self.carrier.as_ref().filter(|carrier| carrier.kind.is_one_way)?;
        self.heard_until(limits)
    }

    /// Returns the same time for any carrier. `None` if the client has sent no request next to an event stream.
    pub(super) fn heard_until(&self, limits: &Limits) -> Option<Instant> {
        Some(self.last_heard? + limits.ping_interval + limits.ping_timeout)
    }

    /// Takes the wakers of the opening request and the carrier.
    pub(super) fn take_wakers(&mut self) -> [Option<Waker>; 2] {
        [mem::take(&mut self.opener), self.carrier.as_mut().and_then(|carrier| carrier.waker.take())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_secrets_are_limited() {
        let secrets: Vec<_> = (0..FORMER + 2).map(|_| TokenSecret::new().unwrap()).collect();
        let mut known = Secrets::new(secrets[0]);
        secrets[1..].iter().for_each(|secret| known.replace(*secret));
        let valid = secrets.iter().map(|secret| known.are_valid(secret)).collect::<Vec<_>>();
        assert!(!valid[0] && valid[1..].iter().all(|valid| *valid));
        known.confirm();
        assert!(!known.are_valid(&secrets[FORMER]) && known.is_newest(&secrets[FORMER + 1]));
    }
}
