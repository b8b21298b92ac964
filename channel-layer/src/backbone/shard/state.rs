//! The state of a shard: its session, and the reason why there is none.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{sync::watch, time::Instant};

use super::super::{
    counters::Count,
    error::LinkError,
    link::BackboneLink,
    outbox::Outbox,
    session::{Context, Session},
};
use crate::{
    events::EventSource,
    sync::{Mutex, MutexGuard, lock},
};

/// The most warnings about one outage: the error may differ with each attempt.
const MAX_WARNINGS: usize = 16;

/// The state that a shard shares with its supervisor.
#[derive(Debug)]
pub(super) struct ShardState {
    pub(super) context: Context,
    events: Arc<EventSource>,
    pub(super) outbox: Arc<Outbox>,
    /// The session in use, if any. Written by the supervisor only.
    pub(super) session: watch::Sender<Option<Arc<Session>>>,
    /// The link of the session, for callers that wait for one.
    pub(super) link: watch::Sender<Option<Arc<dyn BackboneLink>>>,
    /// Set while there is a session. Read at the start of every call. Relaxed: the outbox refuses a call that reads a
    /// stale value.
    pub(super) up: AtomicBool,
    /// Set from the loss of a session until its successor is announced. Written by the supervisor only.
    is_lost: AtomicBool,
    /// Set with the first session. Relaxed: set once, and no other data depends on it.
    pub(super) known: AtomicBool,
    /// The reason why there is no session, or was none before the current one.
    pub(super) last_error: watch::Sender<Option<LinkError>>,
    /// The errors already warned about since the last session. Locked by the supervisor only.
    warned: Mutex<HashSet<String>>,
}

impl ShardState {
    pub(super) fn new(context: Context, events: Arc<EventSource>, outbox: Arc<Outbox>) -> Self {
        Self {
            context,
            events,
            outbox,
            session: watch::Sender::new(None),
            link: watch::Sender::new(None),
            up: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            known: AtomicBool::new(false),
            last_error: watch::Sender::new(None),
            warned: Mutex::default(),
        }
    }

    /// Starts to use a session: calls go through from now on.
    pub(super) fn enter(&self, session: Arc<Session>) {
        tracing::info!(link = ?session.link, "connected");
        self.warned().clear();
        self.set_session(Some(session));
        if self.outbox.is_closed() {
            // Closed while the session was opened, perhaps before it could be seen: it would never end.
            self.set_session(None);
        }
    }

    /// The reason why there is no session.
    pub(super) fn away(&self) -> LinkError {
        if self.outbox.is_closed() {
            return LinkError::Closed;
        }
        match &*self.last_error.borrow() {
            Some(error) => LinkError::Away(Box::new(error.clone())),
            None => LinkError::Down,
        }
    }

    fn warned(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.warned)
    }

    /// Reports the gap since the last working session, in which messages may have been missed.
    pub(super) fn announce(&self, well: Option<Instant>) {
        if let Some(well) = well {
            let gap = well.elapsed();
            self.context.counters.one(Count::Reconnects);
            self.context.counters.add_gap(gap);
            tracing::warn!(?gap, "reconnected: messages of other processes may have been missed");
            if self.is_lost.swap(false, Relaxed) {
                self.events.back(gap);
            }
        }
    }

    /// Stops using the session: calls fail at once from now on.
    pub(super) fn leave(&self, error: &LinkError) {
        let is_closed = matches!(error, LinkError::Closed);
        if !is_closed {
            self.last_error.send_replace(Some(error.clone()));
        }
        let was_up = self.set_session(None).is_some();
        self.context.subscriptions.interrupted(if is_closed { error } else { &LinkError::Down });
        if was_up && !is_closed {
            self.context.counters.one(Count::Disconnects);
            self.context.counters.warn("lost the connection to the bus", error);
            // A link that is lost before it is announced belongs to the same outage.
            if !self.is_lost.swap(true, Relaxed) {
                self.events.lost();
            }
        }
    }

    /// Changes the session, the flag and the state together, under the lock of the session, so that they are
    /// consistent.
    fn set_session(&self, mut session: Option<Arc<Session>>) -> Option<Arc<Session>> {
        self.session.send_modify(|current| {
            let is_up = session.is_some();
            self.link.send_replace(session.as_ref().map(|session| session.link.clone()));
            match (self.up.swap(is_up, Relaxed), is_up) {
                (false, true) => self.events.up(),
                (true, false) => self.events.down(),
                _ => {}
            }
            self.known.fetch_or(is_up, Relaxed);
            std::mem::swap(current, &mut session);
        });
        session
    }

    pub(super) fn cannot_connect(&self, error: LinkError) {
        self.context.counters.one(Count::ConnectFailed);
        let bus = &self.context.backbone;
        let mut warned = self.warned();
        if warned.len() < MAX_WARNINGS && warned.insert(error.to_string()) {
            tracing::warn!(?bus, %error, "cannot connect; will retry");
        } else {
            tracing::debug!(?bus, %error, "cannot connect");
        }
        drop(warned);
        self.last_error.send_replace(Some(error));
    }
}
