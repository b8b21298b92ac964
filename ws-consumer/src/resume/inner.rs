//! What a session's lock guards, and the rules by which it changes.

use std::{collections::VecDeque, mem, sync::Arc, task::Waker};

use tokio::time::Instant;

use super::{
    lifetime::Stay,
    log::{Log, Payload},
    protocol::Lost,
    registry::STEP,
    state::Continued,
    token::{Secret, Token},
};
use crate::{
    frame::{Close, Frame},
    limits::Limits,
    scope::Transport,
    wire::{Accept, Outgoing, Refuse},
};

/// What a session's lock guards.
pub(super) struct Inner {
    pub(super) door: Door,
    pub(super) log: Log,
    pub(super) inbox: VecDeque<Frame>,
    pub(super) inbox_bytes: usize,
    /// The state that the registry knows.
    pub(super) told: Told,
    /// The number of the client's last frame.
    pub(super) received: u64,
    pub(super) secret: Secret,
    /// Those before it that are still good, because no newer one has been used.
    pub(super) former: VecDeque<Secret>,
    pub(super) user: Option<Arc<str>>,
    pub(super) protocol: Option<String>,
    pub(super) leg: Option<Leg>,
    pub(super) legs: u64,
    /// When it is over, unless somebody comes.
    pub(super) ends: Instant,
    /// Until then who polls is only between two polls: what is sent waits, instead of being lost.
    pub(super) between: Option<Instant>,
    /// How long the client may stay, once it was let in, where that is limited.
    pub(super) stay: Option<Stay>,
    /// When the client was last heard of beside its stream, if it ever was.
    pub(super) heard: Option<Instant>,
    /// How the client, or time, has ended it; the application is yet to be told.
    pub(super) ending: Option<Close>,
    /// Was that the client's doing? Then nobody has to be told.
    pub(super) left: bool,
    /// Set when its memory is needed for others: from then on it is as if it had never been.
    pub(super) given_up: bool,
    /// How it ended.
    pub(super) close: Option<Close>,
    /// Set once the application has ended.
    pub(super) has_run: bool,
    pub(super) task: Option<Waker>,
    pub(super) opener: Option<Waker>,
}

/// How far the decision about the client is.
pub(super) enum Door {
    Undecided,
    Accepted(Option<Accept>),
    Refused(Option<Refuse>),
}

/// The state that the registry was told last.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    kept: usize,
    waits: bool,
    has_ended: bool,
}

/// A change that the registry is to be told, with the bytes that the session keeps.
pub(super) enum News {
    Ended(usize),
    Carried(usize),
    Keeps(usize),
    Waits(usize),
}

/// What carries it at the moment.
pub(super) struct Leg {
    pub(super) number: u64,
    pub(super) way: Way,
    pub(super) waker: Option<Waker>,
}

/// How a leg carries it.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// Until it breaks, not answer by answer.
    pub(super) lasts: bool,
    /// The client speaks beside it. One that could speak over it is asked for signs of life there.
    pub(super) is_one_way: bool,
}

/// Bytes that a frame of the client takes while it waits, beside its own.
const FRAME: usize = size_of::<Frame>() + 64;
/// Bytes that may wait for a client before it is not listened to.
const BEHIND: usize = 64 << 10;

impl Way {
    pub(super) const POLL: Self = Self { lasts: false, is_one_way: false };
}

impl From<Transport> for Way {
    fn from(transport: Transport) -> Self {
        Self { lasts: transport.is_stream(), is_one_way: transport == Transport::EventStream }
    }
}

impl Inner {
    pub(super) fn admits(&self, secret: Secret) -> bool {
        !self.given_up && (self.secret.is(&secret) || self.former.iter().any(|former| former.is(&secret)))
    }

    /// Returns what the registry does not know yet. Small changes wait for others.
    pub(super) fn news(&mut self) -> Option<News> {
        let kept = self.log.own() + self.inbox_bytes + self.inbox.capacity() * FRAME;
        let fresh = self.log.fresh();
        let changed = kept.abs_diff(self.told.kept).saturating_add(*fresh) >= STEP;
        // Until its first leg somebody waits for the answer.
        let (before, waits) = (self.told, self.legs > 0 && self.leg.is_none());
        let has_ended = before.has_ended || self.has_run;
        if !changed && waits == before.waits && has_ended == before.has_ended {
            return None;
        }
        *fresh = 0;
        self.told = Told { kept, waits, has_ended };
        Some(match before {
            Told { has_ended: false, .. } if has_ended => News::Ended(kept),
            Told { waits: false, .. } if waits => News::Waits(kept),
            Told { waits: true, .. } if !waits => News::Carried(kept),
            _ => News::Keeps(kept),
        })
    }

    /// Returns whether a client that takes what is sent as it comes is behind with it.
    pub(super) fn is_behind(&self) -> bool {
        self.leg.as_ref().is_some_and(|leg| leg.way.lasts) && self.log.unsent() >= BEHIND
    }

    /// With nobody there, the oldest frames make room; otherwise what the application sends waits where its limits are.
    pub(super) fn has_room(&self) -> bool {
        !self.is_carried() || self.log.has_room()
    }

    pub(super) fn is_carried(&self) -> bool {
        self.leg.is_some() || self.between.is_some()
    }

    pub(super) fn sent(&mut self, output: Outgoing) {
        match output {
            Outgoing::Accept(accept) => self.door = Door::Accepted(Some(accept)),
            Outgoing::Refuse(refuse) => self.door = Door::Refused(Some(refuse)),
            Outgoing::Frame(frame) => self.log.push(frame.into(), self.is_carried()),
            Outgoing::Encoded(message) | Outgoing::Shared(message) => {
                self.log.push(Payload::Shared(message), self.is_carried())
            }
            Outgoing::Close(close) => _ = self.close.get_or_insert(close),
            Outgoing::Gap => self.log.push(Payload::Lost, self.is_carried()),
            Outgoing::Body { .. } | Outgoing::Head(_) => {}
        }
    }

    pub(super) fn attach(&mut self, way: Way) -> u64 {
        self.legs += 1;
        self.between = None;
        let before = self.leg.replace(Leg { number: self.legs, way, waker: None });
        before.and_then(|leg| leg.waker).into_iter().for_each(Waker::wake);
        self.legs
    }

    pub(super) fn detach(&mut self, ends: Instant) {
        if let Some(waker) = self.leg.take().and_then(|leg| leg.waker) {
            waker.wake();
        }
        self.ends = ends;
    }

    /// What comes after this is to be sent next.
    pub(super) fn go_to(&mut self, cursor: u64) -> Option<Lost> {
        let before = self.log.before();
        let gap = (cursor < before).then(|| Lost { from: cursor + 1, to: Some(before) });
        self.log.rewind(cursor);
        gap
    }

    pub(super) fn continued(&self, leg: u64, token: Token, gap: Option<Lost>) -> Continued {
        let (cursor, ack, protocol) = (self.log.sent(), self.received, self.protocol.clone());
        Continued { leg, token, cursor, gap, ack, protocol }
    }

    /// When a client that speaks beside its stream has been silent for too long.
    pub(super) fn silent_at(&self, limits: &Limits) -> Option<Instant> {
        self.leg.as_ref().filter(|leg| leg.way.is_one_way)?;
        self.heard_until(limits)
    }

    /// Until when a client that has spoken beside its stream may be silent.
    pub(super) fn heard_until(&self, limits: &Limits) -> Option<Instant> {
        Some(self.heard? + limits.ping_interval + limits.ping_timeout)
    }

    pub(super) fn others(&mut self) -> [Option<Waker>; 2] {
        [mem::take(&mut self.opener), self.leg.as_mut().and_then(|leg| leg.waker.take())]
    }
}
