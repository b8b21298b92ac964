//! A session: what its task, its carriers and the registry share.
//!
//! The task runs the application and moves its output into the log. Carriers, whose side is in
//! [`attachment`](super::attachment), take frames from the log and put the client's frames into the inbox.

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Context, Poll, Waker},
};

use tokio::{sync::Notify, time::Instant};

use super::{
    config::Settings,
    log::{Log, LogLimits, SharedBytes},
    registry::{Evictable, Registry},
    state::{Admission, RegistryChange, SessionState},
    token::{NoRandomness, SessionId, TokenSecret},
};
use crate::{
    frame::{Close, Frame},
    sync::lock,
    wire::{Accept, Connection, Incoming, Outgoing, Refuse, Wire},
};

/// The sessions of a service.
pub(super) type SessionRegistry = Registry<Session>;

/// A consumer's connection, apart from what carries it.
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The path at which it began, which determines its guards.
    path: Box<str>,
    pub(super) settings: Arc<Settings>,
    pub(super) connection: Arc<Connection>,
    registry: Weak<SessionRegistry>,
    /// Notified when the inbox has room again.
    pub(super) room: Notify,
    /// Held for moments, and never while the connection's lock is taken, except in [`collect`](Self::collect), which runs under
    /// the connection's.
    state: Mutex<SessionState>,
}

impl Session {
    pub(super) fn new(
        settings: Arc<Settings>,
        connection: Arc<Connection>,
        path: Box<str>,
        registry: &Arc<SessionRegistry>,
        shared: SharedBytes,
    ) -> Result<Self, NoRandomness> {
        let limits = LogLimits { bytes: settings.resume.log_bytes, messages: settings.resume.log_messages };
        // The opening request waits no longer than this for a decision.
        let expires = Instant::now() + settings.time_away(false) + settings.limits.accept_timeout;
        let state = SessionState::new(Log::new(limits, shared), TokenSecret::new()?, expires);
        Ok(Self {
            id: SessionId::new()?,
            path,
            settings,
            connection,
            registry: Arc::downgrade(registry),
            room: Notify::new(),
            state: Mutex::new(state),
        })
    }

    /// Whether it began at this path. Other paths have other guards.
    pub(super) fn is_at(&self, path: &str) -> bool {
        *self.path == *path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether it is forgotten as soon as it has ended.
    pub(super) fn is_forgettable(&self) -> bool {
        self.state().is_forgettable
    }

    // ---- the task's side

    /// Returns once how the client or time has ended the session. All later changes wake the task.
    pub(super) fn begin_poll(&self, cx: &Context<'_>) -> Option<Close> {
        let mut state = self.state();
        if !state.task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        let ending = state.ending.take()?;
        state.close.get_or_insert(ending.clone());
        Some(ending)
    }

    /// Moves the application's output into the log while there is room. Returns whether there was any.
    pub(super) fn collect(&self, wire: &mut Wire) -> bool {
        let (mut taken, mut wakers) = (false, [None, None]);
        let mut accepted = false;
        let is_pressed = self.is_pressed();
        let again = wire.take_outputs(|outputs| {
            let mut state = self.state();
            if is_pressed {
                state.log.forget_sent();
            }
            while state.has_room()
                && (!is_pressed || !state.is_carried() || state.log.is_all_sent())
                && let Some(output) = outputs.pop_front()
            {
                taken = true;
                accepted |= matches!(output, Outgoing::Accept(_));
                state.put(output);
            }
            if taken {
                wakers = state.take_wakers();
            }
        });
        if accepted {
            wire.accepted();
        }
        if taken || is_pressed {
            self.report(self.state());
        }
        wakers.into_iter().flatten().for_each(Waker::wake);
        taken || again
    }

    /// Hands the client's frames to the application while it keeps up. Returns whether there were any.
    pub(super) fn feed(&self, wire: &mut Wire) -> bool {
        let mut fed = false;
        while wire.wants_input() {
            let Some(frame) = self.next_input() else { break };
            wire.feed(Incoming::Frame(frame));
            fed = true;
        }
        if fed {
            self.room.notify_waiters();
        }
        fed
    }

    /// Hands over all frames that came before the end: they still count.
    pub(super) fn feed_rest(&self, wire: &mut Wire) {
        while let Some(frame) = self.next_input() {
            wire.feed(Incoming::Frame(frame));
        }
    }

    fn next_input(&self) -> Option<Frame> {
        let mut state = self.state();
        let frame = state.inbox.pop();
        self.report(state);
        frame
    }

    /// Notes that the application has ended.
    pub(super) fn end(&self) {
        let close = self.connection.closed().unwrap_or_default();
        let mut state = self.state();
        if let Admission::Undecided = state.admission {
            state.admission = Admission::Refused(Some(Refuse::default()));
        }
        state.close.get_or_insert(close);
        state.inbox.clear();
        state.has_ended = true;
        let wakers = state.take_wakers();
        self.report(state);
        self.room.notify_waiters();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    // ---- the opener's side

    /// Polls for the application's decision about the client.
    pub(super) fn poll_decision(&self, cx: &Context<'_>) -> Poll<Result<Accept, Refuse>> {
        let mut state = self.state();
        match &mut state.admission {
            Admission::Accepted(accept) => Poll::Ready(Ok(accept.take().unwrap_or_default())),
            Admission::Refused(refuse) => Poll::Ready(Err(refuse.take().unwrap_or_default())),
            Admission::Undecided => {
                state.opener = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    // ---- ending

    /// Ends the session for its client.
    pub(super) fn finish(&self, close: Close) {
        let mut state = self.state();
        if state.close.is_none() {
            state.ending.get_or_insert(close);
            state.is_forgettable = true;
        }
        let task = state.task.take();
        drop(state);
        task.into_iter().for_each(Waker::wake);
    }

    // ---- the registry's side

    /// Whether the sessions of the service keep too much although none of them waits.
    pub(super) fn is_pressed(&self) -> bool {
        self.registry.upgrade().is_some_and(|registry| registry.is_pressed())
    }

    /// Reports changes to the registry. It may evict other sessions, which takes their locks without this one.
    pub(super) fn report(&self, mut state: MutexGuard<'_, SessionState>) {
        let Some(change) = state.take_change() else { return };
        let Some(registry) = self.registry.upgrade() else { return };
        let evicted = match change {
            RegistryChange::Carried(bytes) => registry.carry(self.id, bytes),
            RegistryChange::Ended(bytes) => registry.end(self.id, bytes),
            RegistryChange::Kept(bytes) => registry.keep(self.id, bytes),
            RegistryChange::Waiting(bytes) => registry.wait(self.id, bytes),
        };
        drop(state);
        evicted.evict();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SessionState> {
        lock(&self.state)
    }
}

impl Evictable for Session {
    fn id(&self) -> SessionId {
        self.id
    }

    /// Ends it as if its time were over.
    fn evict(&self) {
        let mut state = self.state();
        (state.is_evicted, state.is_forgettable) = (true, true);
        if state.close.is_none() {
            state.ending.get_or_insert(Close::ABNORMAL.into());
        }
        state.log.clear();
        state.between_polls = None;
        state.detach(Instant::now());
        let task = state.task.take();
        drop(state);
        task.into_iter().for_each(Waker::wake);
    }
}
