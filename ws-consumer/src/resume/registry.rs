//! The registry of all sessions of a service. It limits their number and the bytes they keep, and selects
//! those that end when there are too many.
//!
//! The data that a session keeps always counts: its log and its client's input. While it waits without a
//! connection, the rest of it counts too, for its client's address as well. Sessions with a connection are
//! bounded by the limits of connections.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use super::{config::Resume, log::Shared, state::Session, token::SessionId};
use crate::wire::Seldom;

/// Bytes that a session takes beside what it keeps, about: its task, its consumer, its mailbox, and what the allocator adds.
pub(super) const FIXED: usize = 8 << 10;
/// Bytes that the record of an ended one takes.
const ENDED: usize = 1 << 10;
/// Bytes below which a change waits for others before it is reported: each report takes a lock.
pub(super) const STEP: usize = 2 << 10;

pub(super) struct Registry {
    bounds: Bounds,
    /// Locked for a look-up, and never while another lock is asked for.
    state: Mutex<State>,
    /// Bytes of messages that sessions share. Apart from the lock, because a message may be dropped under any.
    shared: Arc<AtomicUsize>,
    /// Set while sessions that have a connection keep too much.
    is_pressed: AtomicBool,
    refused: Seldom,
    given_up: Seldom,
}

/// The limits.
#[derive(Clone, Copy)]
struct Bounds {
    bytes: usize,
    address_bytes: usize,
    sessions: usize,
    address_sessions: usize,
}

#[derive(Default)]
struct State {
    sessions: HashMap<SessionId, Entry>,
    /// Of them, those that have not ended.
    live: usize,
    bytes: usize,
    next: u64,
    /// The sessions that wait, the oldest first.
    waiting: BTreeMap<u64, SessionId>,
    /// Clients whose address is not known count as one.
    addresses: HashMap<Option<IpAddr>, Share>,
}

struct Entry {
    session: Arc<Session>,
    address: Option<IpAddr>,
    fixed: usize,
    kept: usize,
    waits: Option<u64>,
    has_ended: bool,
}

#[derive(Default)]
struct Share {
    /// The number of its sessions, whatever their state.
    sessions: usize,
    bytes: usize,
    /// Bytes of messages that its sessions were the first to keep.
    shared: Arc<AtomicUsize>,
    waiting: BTreeSet<u64>,
}

/// Sessions that have to go; their own locks are taken for it.
#[must_use]
pub(super) struct Excess(Vec<Arc<Session>>);

impl Excess {
    pub(super) fn end(self) {
        self.0.iter().for_each(|session| session.give_up());
    }
}

/// Bytes of a request that is being read. Dropped, they are given back.
pub(super) struct Reading {
    registry: Arc<Registry>,
    address: Option<IpAddr>,
    bytes: usize,
}

impl Registry {
    pub(super) fn new(resume: &Resume) -> Self {
        let bounds = Bounds {
            bytes: resume.max_bytes,
            address_bytes: resume.max_bytes_per_address.min(resume.max_bytes),
            sessions: resume.max_sessions,
            address_sessions: resume.max_waiting_per_address,
        };
        Self {
            bounds,
            state: Mutex::default(),
            shared: Arc::default(),
            is_pressed: AtomicBool::new(false),
            refused: Seldom::default(),
            given_up: Seldom::default(),
        }
    }

    /// The counters of what sessions of this address share with others.
    pub(super) fn shared(&self, address: Option<IpAddr>) -> Shared {
        let known = self.state().addresses.get(&address).map(|share| share.shared.clone());
        Shared { all: self.shared.clone(), address: known.unwrap_or_default() }
    }

    /// Returns whether the sessions keep too much although none of them waits.
    pub(super) fn is_pressed(&self) -> bool {
        self.is_pressed.load(Relaxed)
    }

    pub(super) fn find(&self, id: SessionId) -> Option<Arc<Session>> {
        self.state().sessions.get(&id).map(|entry| entry.session.clone())
    }

    pub(super) fn has(&self, id: SessionId) -> bool {
        self.state().sessions.contains_key(&id)
    }

    /// The number of sessions, ended ones included.
    pub(super) fn len(&self) -> usize {
        self.state().sessions.len()
    }

    /// Enters a new session, which has a connection at first. False if there is no room.
    pub(super) fn enter(
        &self,
        session: &Arc<Session>,
        address: Option<IpAddr>,
        weight: usize,
        shared: Arc<AtomicUsize>,
    ) -> bool {
        let mut state = self.state();
        let bytes = state.bytes.saturating_add(self.shared.load(Relaxed));
        if state.live >= self.bounds.sessions || (bytes > self.bounds.bytes && state.waiting.is_empty()) {
            let sessions = state.live;
            drop(state);
            if let Some(refused) = self.refused.count() {
                tracing::warn!(sessions, refused, "no room for another session");
            }
            return false;
        }
        state.live += 1;
        let (session, fixed) = (session.clone(), FIXED.saturating_add(weight));
        let entry = Entry { address, fixed, kept: 0, waits: None, has_ended: false, session };
        state.sessions.insert(entry.session.id, entry);
        state.addresses.entry(address).or_insert_with(|| Share { shared, ..Share::default() }).sessions += 1;
        true
    }

    /// Notes how many bytes the session keeps.
    pub(super) fn keep(&self, id: SessionId, bytes: usize) -> Excess {
        self.change(id, |entry, _| entry.kept = bytes)
    }

    /// Notes that it has no connection any more.
    pub(super) fn wait(&self, id: SessionId, bytes: usize) -> Excess {
        self.change(id, |entry, next| {
            entry.kept = bytes;
            entry.waits.get_or_insert(next);
        })
    }

    /// Notes that it has one again.
    pub(super) fn carry(&self, id: SessionId, bytes: usize) -> Excess {
        self.change(id, |entry, _| (entry.kept, entry.waits) = (bytes, None))
    }

    /// Notes that it has ended: it takes no place any more, but is remembered.
    pub(super) fn ended(&self, id: SessionId, bytes: usize) -> Excess {
        self.change(id, |entry, next| {
            (entry.has_ended, entry.fixed, entry.kept) = (true, ENDED, bytes);
            entry.waits.get_or_insert(next);
        })
    }

    pub(super) fn forget(&self, id: SessionId) {
        let entry = self.state().remove(id);
        drop(entry); // beside the lock: what it keeps takes others when it goes
    }

    /// Begins to count a request of this address.
    pub(super) fn reads(self: &Arc<Self>, address: Option<IpAddr>) -> Reading {
        Reading { registry: self.clone(), address, bytes: 0 }
    }

    fn change(&self, id: SessionId, change: impl FnOnce(&mut Entry, u64)) -> Excess {
        let mut state = self.state();
        let Some(address) = state.change(id, change) else { return Excess(Vec::new()) };
        self.settle(state, address)
    }

    /// Takes out those that have to end for the others: the oldest that wait, first of the address that has too much.
    fn settle(&self, mut state: MutexGuard<'_, State>, address: Option<IpAddr>) -> Excess {
        let mut gone = Vec::new();
        while let Some(id) = state.excess(address, &self.bounds, self.shared.load(Relaxed)) {
            gone.extend(state.remove(id));
        }
        let bytes = state.bytes.saturating_add(self.shared.load(Relaxed));
        self.is_pressed.store(bytes > self.bounds.bytes, Relaxed);
        drop(state);
        let live = gone.iter().filter(|entry| !entry.has_ended).count();
        if live > 0
            && let Some(ended) = self.given_up.count_by(live as u64)
        {
            tracing::warn!(
                ended,
                bytes,
                ?address,
                "sessions without a connection end early: too many, or too much"
            );
        }
        Excess(gone.into_iter().map(|entry| entry.session).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the address whose share it counts for.
    fn change(&mut self, id: SessionId, change: impl FnOnce(&mut Entry, u64)) -> Option<Option<IpAddr>> {
        self.next += 1;
        let entry = self.sessions.get_mut(&id)?;
        let (before, had_ended) = (entry.counted(), entry.has_ended);
        change(entry, self.next);
        let (after, has_ended, address) = (entry.counted(), entry.has_ended, entry.address);
        self.live -= usize::from(has_ended && !had_ended);
        self.recount(id, address, before, after);
        Some(address)
    }

    fn remove(&mut self, id: SessionId) -> Option<Entry> {
        let entry = self.sessions.remove(&id)?;
        self.live -= usize::from(!entry.has_ended);
        let none = Counted { bytes: 0, waits: None };
        self.recount(id, entry.address, entry.counted(), none);
        if let Some(share) = self.addresses.get_mut(&entry.address) {
            share.sessions -= 1;
        }
        self.tidy(entry.address);
        // A crowd that left gives its memory back.
        if self.sessions.capacity() > 64 && self.sessions.len() * 4 < self.sessions.capacity() {
            self.sessions.shrink_to_fit();
        }
        Some(entry)
    }

    fn recount(&mut self, id: SessionId, address: Option<IpAddr>, before: Counted, after: Counted) {
        self.bytes = self.bytes - before.bytes + after.bytes;
        let [taken, given] = [&before, &after].map(Counted::of_address);
        if (taken, before.waits) == (given, after.waits) {
            return;
        }
        let Some(share) = self.addresses.get_mut(&address) else { return };
        share.bytes = share.bytes - taken + given;
        if before.waits != after.waits {
            if let Some(place) = before.waits {
                share.waiting.remove(&place);
                self.waiting.remove(&place);
            }
            if let Some(place) = after.waits {
                share.waiting.insert(place);
                self.waiting.insert(place, id);
            }
        }
    }

    /// Returns the session that is to end next, if there is too much.
    fn excess(&self, address: Option<IpAddr>, bounds: &Bounds, shared: usize) -> Option<SessionId> {
        let share = self.addresses.get(&address);
        let own = share.filter(|share| {
            share.bytes.saturating_add(share.shared.load(Relaxed)) > bounds.address_bytes
                || share.waiting.len() > bounds.address_sessions
        });
        let oldest = own.and_then(|share| share.waiting.first());
        if let Some(place) = oldest {
            return self.waiting.get(place).copied();
        }
        if self.bytes.saturating_add(shared) <= bounds.bytes {
            return None;
        }
        self.waiting.first_key_value().map(|(_, id)| *id)
    }

    fn read(&mut self, address: Option<IpAddr>, before: usize, after: usize) {
        self.bytes = self.bytes - before + after;
        let share = self.addresses.entry(address).or_default();
        share.bytes = share.bytes - before + after;
        self.tidy(address);
    }

    /// Forgets an address that has nothing.
    fn tidy(&mut self, address: Option<IpAddr>) {
        if self.addresses.get(&address).is_some_and(|share| share.sessions == 0 && share.bytes == 0) {
            self.addresses.remove(&address);
        }
    }
}

/// The part of an entry that counts.
struct Counted {
    bytes: usize,
    waits: Option<u64>,
}

impl Counted {
    fn of_address(&self) -> usize {
        if self.waits.is_some() { self.bytes } else { 0 }
    }
}

impl Entry {
    fn counted(&self) -> Counted {
        let fixed = if self.waits.is_some() { self.fixed } else { 0 };
        Counted { bytes: self.kept.saturating_add(fixed), waits: self.waits }
    }
}

impl Reading {
    /// Notes how many bytes it takes by now. Returns false if that is too much, even without the sessions that wait.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        let Self { registry, address, .. } = self;
        let mut state = registry.state();
        state.read(*address, self.bytes, bytes);
        self.bytes = bytes;
        registry.settle(state, *address).end();
        let state = registry.state();
        let own = state.addresses.get(address).map_or(0, |share| share.bytes);
        let is_room = own <= registry.bounds.address_bytes && !registry.is_pressed();
        drop(state);
        if !is_room && let Some(refused) = registry.refused.count() {
            tracing::warn!(?address, refused, "no room for the body of a session's request");
        }
        is_room
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.registry.state();
        state.read(self.address, self.bytes, 0);
        self.registry.settle(state, self.address).end();
    }
}
