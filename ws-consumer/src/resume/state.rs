//! One session: what its legs and its task share.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    config::Resume,
    inner::{Door, Inner, News, Told, Way},
    lifetime::Stay,
    log::{Log, Most, Payload, Shared},
    protocol::Lost,
    registry::Registry,
    token::{NoRandomness, ProcessId, Secret, SessionId, Token},
};
use crate::{
    frame::Close,
    limits::Limits,
    scope::Transport,
    wire::{Accept, Link, Outgoing, Refuse, Resumed, Wire},
};

/// Attempts to come back of which none has been heard of again.
const FORMER: usize = 16;
/// Bytes that one answer may have.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes that a stream takes at once: it comes again as soon as they are on their way.
const STREAM_BYTES: usize = 64 << 10;

/// By what all sessions of a service go.
pub(super) struct Terms {
    pub(super) process: ProcessId,
    pub(super) resume: Resume,
    pub(super) limits: Arc<Limits>,
}

/// A consumer's connection, apart from what carries it.
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Where it began, and what guards it.
    path: Box<str>,
    pub(super) terms: Arc<Terms>,
    link: Arc<Link>,
    registry: Weak<Registry>,
    /// Rings when the inbox has room again.
    pub(super) room: Notify,
    /// Held for moments, never while the link's own lock is asked for, but for [`collect`](Self::collect).
    inner: Mutex<Inner>,
}

/// The application's decision.
pub(super) enum Decision {
    Accept(Accept),
    Refuse(Refuse),
}

/// What a leg is to do.
#[derive(Debug)]
pub(super) enum Taken {
    /// Send these; the first of them has this number.
    Frames(u64, Vec<Payload>),
    /// Say how it ended.
    Over(Close),
    /// Leave it to another leg.
    Replaced,
}

/// A leg that goes on.
pub(super) struct Continued {
    pub(super) leg: u64,
    pub(super) token: Token,
    /// After this number it goes on.
    pub(super) cursor: u64,
    pub(super) gap: Option<Lost>,
    pub(super) ack: u64,
    pub(super) protocol: Option<String>,
}

impl Session {
    pub(super) fn new(
        terms: Arc<Terms>,
        link: Arc<Link>,
        path: Box<str>,
        registry: &Arc<Registry>,
        shared: Shared,
    ) -> Result<Self, NoRandomness> {
        let Resume { log_bytes, log_messages, .. } = terms.resume;
        let away = terms.away(false);
        let inner = Inner {
            door: Door::Undecided,
            log: Log::new(Most { bytes: log_bytes, messages: log_messages }, shared),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            told: Told::default(),
            received: 0,
            secret: Secret::new()?,
            former: VecDeque::new(),
            user: None,
            protocol: None,
            leg: None,
            legs: 0,
            // Nobody who asked has to wait longer for a decision.
            ends: Instant::now() + away + terms.limits.accept_timeout,
            between: None,
            stay: None,
            heard: None,
            ending: None,
            left: false,
            given_up: false,
            close: None,
            has_run: false,
            task: None,
            opener: None,
        };
        let (id, room, inner) = (SessionId::new()?, Notify::new(), Mutex::new(inner));
        Ok(Self { id, path, terms, link, registry: Arc::downgrade(registry), room, inner })
    }

    /// Other addresses have other guards.
    pub(super) fn is_at(&self, path: &str) -> bool {
        *self.path == *path
    }

    // ---- the task's side

    /// How the client or time has ended it, once. Whatever happens from here on wakes the task.
    pub(super) fn begin_poll(&self, cx: &Context<'_>) -> Option<Close> {
        let mut inner = self.inner();
        if !inner.task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            inner.task = Some(cx.waker().clone());
        }
        let ending = inner.ending.take()?;
        inner.close.get_or_insert(ending.clone());
        Some(ending)
    }

    /// Takes over what the application sends, as far as there is room. True if there was anything.
    pub(super) fn collect(&self, wire: &mut Wire) -> bool {
        let (mut taken, mut wakers) = (false, [None, None]);
        let mut accepted = false;
        let is_pressed = self.registry.upgrade().is_some_and(|registry| registry.is_pressed());
        let again = wire.take_outputs(|outputs| {
            let mut inner = self.inner();
            if is_pressed {
                inner.log.forget_sent();
            }
            while inner.has_room()
                && (!is_pressed || !inner.is_carried() || inner.log.is_all_sent())
                && let Some(output) = outputs.pop_front()
            {
                taken = true;
                accepted |= matches!(output, Outgoing::Accept(_));
                inner.sent(output);
            }
            if taken {
                wakers = inner.others();
            }
        });
        if accepted {
            wire.accepted();
        }
        if taken || is_pressed {
            self.tell(self.inner());
        }
        wakers.into_iter().flatten().for_each(Waker::wake);
        taken || again
    }

    /// The application has ended.
    pub(super) fn end(&self) {
        let close = self.link.close().unwrap_or_default();
        let mut inner = self.inner();
        if let Door::Undecided = inner.door {
            inner.door = Door::Refused(Some(Refuse::default()));
        }
        inner.close.get_or_insert(close);
        (inner.inbox, inner.inbox_bytes) = (VecDeque::new(), 0);
        inner.has_run = true;
        let wakers = inner.others();
        self.tell(inner);
        self.room.notify_waiters();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// When to look again, and whether something is due now.
    pub(super) fn keep_time(&self) -> Option<Instant> {
        let next = self.keep_legs()?;
        Some(self.keep_stay().map_or(next, |until| until.min(next)))
    }

    fn keep_legs(&self) -> Option<Instant> {
        let mut inner = self.inner();
        if inner.close.is_some() || inner.ending.is_some() {
            return None;
        }
        let now = Instant::now();
        let silent = inner.silent_at(&self.terms.limits);
        if silent.is_some_and(|at| at <= now) {
            let channel = self.link.channel();
            tracing::info!(
                ?channel,
                rule = "ping_timeout",
                "ending a stream beside which the client has fallen silent"
            );
            inner.detach(now + self.terms.away(false));
            self.tell(inner);
            inner = self.inner();
        }
        if inner.between.is_some_and(|until| until <= now) {
            inner.between = None;
            return Some(now);
        }
        if inner.leg.is_none() && inner.ends <= now {
            inner.ending = Some(Close::ABNORMAL.into());
            return Some(now);
        }
        let next = match &inner.leg {
            None => inner.between.unwrap_or(inner.ends),
            Some(leg) if leg.way.lasts => inner.silent_at(&self.terms.limits).unwrap_or(now + YEAR),
            Some(_) => now + self.terms.resume.window + self.terms.away(false),
        };
        Some(next)
    }

    // ---- the opener's side

    pub(super) fn poll_decision(&self, cx: &Context<'_>) -> Poll<Decision> {
        let mut inner = self.inner();
        match &mut inner.door {
            Door::Accepted(accept) => Poll::Ready(Decision::Accept(accept.take().unwrap_or_default())),
            Door::Refused(refuse) => Poll::Ready(Decision::Refuse(refuse.take().unwrap_or_default())),
            Door::Undecided => {
                inner.opener = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The first leg.
    pub(super) fn begin(&self, transport: Transport, protocol: Option<String>) -> Continued {
        let user = self.link.user();
        let mut inner = self.inner();
        inner.user = user;
        inner.protocol = protocol;
        inner.stay = Stay::new(&self.terms.limits);
        let leg = inner.attach(transport.into());
        let continued = inner.continued(leg, self.token_of(inner.secret), None);
        // Whose timer may be set for later.
        let task = if inner.stay.is_some() { inner.task.take() } else { None };
        drop(inner);
        task.into_iter().for_each(Waker::wake);
        continued
    }

    // ---- the legs' side

    /// A new leg, for whoever has the secret and is the same user. Nothing for others.
    pub(super) fn resume(
        &self,
        secret: Secret,
        user: Option<&str>,
        cursor: u64,
        transport: Transport,
    ) -> Result<Option<Continued>, NoRandomness> {
        let mut inner = self.inner();
        if !inner.admits(secret) || inner.user.as_deref() != user || cursor > inner.log.last() {
            return Ok(None);
        }
        // Those before stay good: the answer with the new one may get lost, and another attempt be under way.
        let new = Secret::new()?;
        let known = mem::replace(&mut inner.secret, new);
        if inner.former.len() == FORMER {
            inner.former.pop_front();
        }
        inner.former.push_back(known);
        let leg = inner.attach(transport.into());
        inner.log.acknowledge(cursor);
        let gap = inner.go_to(cursor);
        inner.heard = inner.heard.map(|_| Instant::now());
        let continued = inner.continued(leg, self.token_of(inner.secret), gap);
        let wakers = inner.others();
        let goes_on = inner.close.is_none() && inner.ending.is_none();
        self.tell(inner);
        wakers.into_iter().flatten().for_each(Waker::wake);
        if goes_on {
            let gap = gap.and_then(|lost| Some(lost.from..=lost.to?));
            self.link.push_resumed(Resumed { transport, gap });
        }
        Ok(Some(continued))
    }

    /// The client of this leg has the token that came with it.
    pub(super) fn confirm(&self, leg: u64) {
        let mut inner = self.inner();
        if inner.leg.as_ref().is_some_and(|known| known.number == leg) {
            inner.former = VecDeque::new();
        }
    }

    /// Is this request one of its client's? `user` is who asks, if it had to be found out again.
    ///
    /// A poll needs the newest secret: one that comes late, of a leg that another has followed, must not take over.
    pub(super) fn admits(&self, secret: Secret, user: Option<Option<&str>>, polls: bool) -> bool {
        let inner = self.inner();
        let known = if polls { inner.secret.is(&secret) } else { inner.admits(secret) };
        known && user.is_none_or(|user| user == inner.user.as_deref())
    }

    /// The client has shown its newest secret: the one before is of no use any more.
    pub(super) fn confirm_by(&self, secret: Secret) {
        let mut inner = self.inner();
        if inner.secret.is(&secret) {
            inner.former = VecDeque::new();
        }
    }

    /// A poll of the leg that polls: it takes over, acknowledges up to `cursor`, and goes on after `after`.
    /// What is returned is the leg, and the number after which it goes on.
    pub(super) fn poll_begins(&self, cursor: u64, after: u64) -> (u64, u64, Option<Lost>) {
        let mut inner = self.inner();
        let leg = inner.attach(Way::POLL);
        inner.log.acknowledge(cursor);
        let gap = inner.go_to(after);
        let at = inner.log.sent();
        let wakers = inner.others();
        self.tell(inner);
        wakers.into_iter().flatten().for_each(Waker::wake);
        (leg, at, gap)
    }

    /// What this leg is to send next.
    pub(super) fn poll_take(&self, leg: u64, cx: &Context<'_>) -> Poll<Taken> {
        let mut inner = self.inner();
        let Some(lasts) = inner.leg.as_ref().filter(|known| known.number == leg).map(|leg| leg.way.lasts)
        else {
            return Poll::Ready(Taken::Replaced);
        };
        let bytes = if lasts { STREAM_BYTES } else { BATCH_BYTES };
        let most = Most { bytes, messages: self.terms.resume.batch };
        let (had_room, was_behind) = (inner.log.has_room(), inner.is_behind());
        if let Some((first, frames)) = inner.log.take(most) {
            let is_pressed = self.registry.upgrade().is_some_and(|registry| registry.is_pressed());
            let task = if had_room && !is_pressed { None } else { inner.task.take() };
            let hears_again = was_behind && !inner.is_behind();
            drop(inner);
            if hears_again {
                self.room.notify_waiters();
            }
            task.into_iter().for_each(Waker::wake);
            return Poll::Ready(Taken::Frames(first, frames));
        }
        if let Some(close) = &inner.close {
            return Poll::Ready(Taken::Over(close.clone()));
        }
        if let Some(known) = &mut inner.leg {
            known.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn acknowledge(&self, cursor: u64) {
        let mut inner = self.inner();
        // Only what was sent can have arrived.
        let cursor = cursor.min(inner.log.sent());
        inner.log.acknowledge(cursor);
        self.tell(inner);
    }

    /// The client was heard of beside its stream.
    pub(super) fn hear(&self) {
        let mut inner = self.inner();
        let first = inner.heard.replace(Instant::now()).is_none();
        let task = if first { inner.task.take() } else { None };
        drop(inner);
        task.into_iter().for_each(Waker::wake);
    }

    /// Lets a client go that has fallen silent beside its stream in another process, where nobody can tell. False if it has
    /// not, and is to be answered.
    pub(super) fn leave_silent(&self) -> bool {
        let mut inner = self.inner();
        let now = Instant::now();
        let is_silent = inner.heard_until(&self.terms.limits).is_some_and(|until| until <= now);
        if is_silent {
            (inner.between, inner.ends) = (None, inner.ends.min(now + self.terms.away(false)));
        }
        let task = inner.task.take_if(|_| is_silent);
        drop(inner);
        task.into_iter().for_each(Waker::wake);
        is_silent
    }

    /// Did the client end it?
    pub(super) fn was_left(&self) -> bool {
        self.inner().left
    }

    pub(super) fn received(&self) -> u64 {
        self.inner().received
    }

    /// This leg is gone.
    pub(super) fn detach(&self, leg: u64) {
        let mut inner = self.inner();
        let Some(known) = inner.leg.as_ref().filter(|known| known.number == leg) else { return };
        let polls = !known.way.lasts;
        let now = Instant::now();
        inner.detach(now + self.terms.away(polls));
        inner.between = polls.then(|| now + self.terms.limits.ping_timeout);
        let task = inner.task.take();
        self.tell(inner);
        self.room.notify_waiters(); // nobody is behind any more
        task.into_iter().for_each(Waker::wake);
    }

    /// The client ends it.
    pub(super) fn finish(&self, close: Close) {
        let mut inner = self.inner();
        if inner.close.is_none() {
            inner.ending.get_or_insert(close);
            inner.left = true;
        }
        let task = inner.task.take();
        drop(inner);
        task.into_iter().for_each(Waker::wake);
    }

    /// Ends it because its memory is needed for others, as if its time were over.
    pub(super) fn give_up(&self) {
        let mut inner = self.inner();
        (inner.given_up, inner.left) = (true, true);
        if inner.close.is_none() {
            inner.ending.get_or_insert(Close::ABNORMAL.into());
        }
        inner.log.clear();
        let now = Instant::now();
        inner.between = None;
        inner.detach(now);
        let task = inner.task.take();
        drop(inner);
        task.into_iter().for_each(Waker::wake);
    }

    /// Tells the registry what has changed. Others may have to go for it, which is done without this lock.
    pub(super) fn tell(&self, mut inner: MutexGuard<'_, Inner>) {
        let Some(news) = inner.news() else { return };
        let Some(registry) = self.registry.upgrade() else { return };
        let excess = match news {
            News::Ended(bytes) => registry.ended(self.id, bytes),
            News::Carried(bytes) => registry.carry(self.id, bytes),
            News::Keeps(bytes) => registry.keep(self.id, bytes),
            News::Waits(bytes) => registry.wait(self.id, bytes),
        };
        drop(inner);
        excess.end();
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    fn token_of(&self, secret: Secret) -> Token {
        Token { process: self.terms.process, session: self.id, secret }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing of the user's runs under it, so a poisoned one is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Terms {
    /// How long it stays after its last leg. One that polls is not gone between two polls.
    fn away(&self, polls: bool) -> Duration {
        let between = if polls { self.limits.ping_timeout } else { Duration::ZERO };
        self.resume.resume_ttl + between
    }
}
