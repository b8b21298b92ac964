//! The registry of all sessions of a service, which limits their number and the bytes they keep, and evicts sessions beyond
//! the limits.
//!
//! The data that a session keeps always counts: its log and its client's input. While it waits without a
//! connection, the rest of it counts too, for its client's address as well. Sessions with a connection are
//! bounded by the limits of connections.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use super::{config::Resume, log::SharedBytes, token::SessionId};
use crate::{error::LogLimit, sync::lock};

/// The estimated size of a session without the data that it keeps: its task, its consumer, its mailbox, and the
/// allocator's overhead.
const FIXED: usize = 8 << 10;
/// The size of the record of an ended session.
const ENDED: usize = 1 << 10;
/// The smallest change in bytes that is reported at once: each report takes a lock.
pub(super) const REPORT_STEP: usize = 2 << 10;

/// An entry's object, which the registry may end.
pub(super) trait Evictable {
    fn id(&self) -> SessionId;

    /// Ends it because its memory is needed for others. Called without the registry's lock.
    fn evict(&self);
}

pub(super) struct Registry<S> {
    limits: RegistryLimits,
    /// Locked for a look-up, and never while another lock is taken.
    state: Mutex<RegistryState<S>>,
    /// Bytes of messages that sessions share. Apart from the lock, because a message may be dropped under any lock.
    shared: Arc<AtomicUsize>,
    /// Set while sessions that have a connection keep too much.
    is_pressed: AtomicBool,
    refused: LogLimit,
    evicted: LogLimit,
}

#[derive(Clone, Copy)]
struct RegistryLimits {
    bytes: usize,
    address_bytes: usize,
    sessions: usize,
    address_sessions: usize,
}

struct RegistryState<S> {
    sessions: HashMap<SessionId, SessionEntry<S>>,
    /// The number of sessions that have not ended.
    live: usize,
    bytes: usize,
    next: u64,
    /// The sessions that wait, the oldest first.
    waiting: BTreeMap<u64, SessionId>,
    /// Clients whose address is not known count as one.
    addresses: HashMap<Option<IpAddr>, AddressShare>,
}

struct SessionEntry<S> {
    session: Arc<S>,
    address: Option<IpAddr>,
    fixed: usize,
    kept: usize,
    /// Its position in the order of waiting sessions.
    waits: Option<u64>,
    has_ended: bool,
}

/// The sessions of an address.
#[derive(Default)]
struct AddressShare {
    /// The number of its sessions, in any state.
    sessions: usize,
    bytes: usize,
    /// Bytes of messages that its sessions were the first to keep.
    shared: Arc<AtomicUsize>,
    waiting: BTreeSet<u64>,
}

/// Sessions that have to end. Ending them takes their own locks.
#[must_use]
pub(super) struct Evicted<S>(Vec<Arc<S>>);

impl<S: Evictable> Evicted<S> {
    pub(super) fn evict(self) {
        self.0.iter().for_each(|session| session.evict());
    }
}

/// The bytes of a request that is being read, which are given back when this is dropped.
pub(super) struct Reservation<S: Evictable> {
    registry: Arc<Registry<S>>,
    address: Option<IpAddr>,
    bytes: usize,
}

impl<S: Evictable> Registry<S> {
    pub(super) fn new(resume: &Resume) -> Self {
        let limits = RegistryLimits {
            bytes: resume.max_bytes,
            address_bytes: resume.max_bytes_per_address.min(resume.max_bytes),
            sessions: resume.max_sessions,
            address_sessions: resume.max_waiting_per_address,
        };
        Self {
            limits,
            state: Mutex::default(),
            shared: Arc::default(),
            is_pressed: AtomicBool::new(false),
            refused: LogLimit::default(),
            evicted: LogLimit::default(),
        }
    }

    /// The counters of messages that sessions of this address share with others.
    pub(super) fn shared(&self, address: Option<IpAddr>) -> SharedBytes {
        let known = self.state().addresses.get(&address).map(|share| share.shared.clone());
        SharedBytes { all: self.shared.clone(), address: known.unwrap_or_default() }
    }

    /// Whether the sessions keep too much although none of them waits.
    pub(super) fn is_pressed(&self) -> bool {
        self.is_pressed.load(Relaxed)
    }

    pub(super) fn find(&self, id: SessionId) -> Option<Arc<S>> {
        self.state().sessions.get(&id).map(|entry| entry.session.clone())
    }

    pub(super) fn has(&self, id: SessionId) -> bool {
        self.state().sessions.contains_key(&id)
    }

    /// The number of sessions, ended ones included.
    pub(super) fn len(&self) -> usize {
        self.state().sessions.len()
    }

    /// Enters a new session, which has a connection at first. Returns false if there is no room.
    pub(super) fn enter(
        &self,
        session: &Arc<S>,
        address: Option<IpAddr>,
        weight: usize,
        shared: Arc<AtomicUsize>,
    ) -> bool {
        let mut state = self.state();
        let bytes = state.bytes.saturating_add(self.shared.load(Relaxed));
        if state.live >= self.limits.sessions || (bytes > self.limits.bytes && state.waiting.is_empty()) {
            let sessions = state.live;
            drop(state);
            if let Some(refused) = self.refused.count() {
                tracing::warn!(sessions, refused, "no room for another session");
            }
            return false;
        }
        state.live += 1;
        let (session, fixed) = (session.clone(), FIXED.saturating_add(weight));
        let entry = SessionEntry { address, fixed, kept: 0, waits: None, has_ended: false, session };
        state.sessions.insert(entry.session.id(), entry);
        let share = AddressShare { shared, ..AddressShare::default() };
        state.addresses.entry(address).or_insert(share).sessions += 1;
        true
    }

    /// Notes how many bytes the session keeps.
    pub(super) fn keep(&self, id: SessionId, bytes: usize) -> Evicted<S> {
        self.change(id, |entry, _| entry.kept = bytes)
    }

    /// Notes that the session has lost its connection.
    pub(super) fn wait(&self, id: SessionId, bytes: usize) -> Evicted<S> {
        self.change(id, |entry, next| {
            entry.kept = bytes;
            entry.waits.get_or_insert(next);
        })
    }

    /// Notes that the session has a connection again.
    pub(super) fn carry(&self, id: SessionId, bytes: usize) -> Evicted<S> {
        self.change(id, |entry, _| (entry.kept, entry.waits) = (bytes, None))
    }

    /// Notes that the session has ended: it does not count any more, but is remembered.
    pub(super) fn end(&self, id: SessionId, bytes: usize) -> Evicted<S> {
        self.change(id, |entry, next| {
            (entry.has_ended, entry.fixed, entry.kept) = (true, ENDED, bytes);
            entry.waits.get_or_insert(next);
        })
    }

    pub(super) fn forget(&self, id: SessionId) {
        let entry = self.state().remove(id);
        drop(entry); // without the lock: the drop takes others
    }

    /// Begins to count the body of a request of this address.
    pub(super) fn reserve(self: &Arc<Self>, address: Option<IpAddr>) -> Reservation<S> {
        Reservation { registry: self.clone(), address, bytes: 0 }
    }

    fn change(&self, id: SessionId, change: impl FnOnce(&mut SessionEntry<S>, u64)) -> Evicted<S> {
        let mut state = self.state();
        let Some(address) = state.change(id, change) else { return Evicted(Vec::new()) };
        self.settle(state, address)
    }

    /// Removes the sessions that exceed the limits: the oldest that wait, first those of the address that has too much.
    fn settle(&self, mut state: MutexGuard<'_, RegistryState<S>>, address: Option<IpAddr>) -> Evicted<S> {
        let mut gone = Vec::new();
        while let Some(id) = state.excess(address, &self.limits, self.shared.load(Relaxed)) {
            gone.extend(state.remove(id));
        }
        let bytes = state.bytes.saturating_add(self.shared.load(Relaxed));
        self.is_pressed.store(bytes > self.limits.bytes, Relaxed);
        drop(state);
        let live = gone.iter().filter(|entry| !entry.has_ended).count();
        if live > 0
            && let Some(ended) = self.evicted.count_by(live as u64)
        {
            tracing::warn!(
                ended,
                bytes,
                ?address,
                "sessions without a connection end early: too many, or too much"
            );
        }
        Evicted(gone.into_iter().map(|entry| entry.session).collect())
    }

    fn state(&self) -> MutexGuard<'_, RegistryState<S>> {
        lock(&self.state)
    }
}

impl<S> Default for RegistryState<S> {
    fn default() -> Self {
        Self {
            sessions: HashMap::new(),
            live: 0,
            bytes: 0,
            next: 0,
            waiting: BTreeMap::new(),
            addresses: HashMap::new(),
        }
    }
}

impl<S> RegistryState<S> {
    /// Changes an entry, and returns the address whose share it counts for.
    fn change(
        &mut self,
        id: SessionId,
        change: impl FnOnce(&mut SessionEntry<S>, u64),
    ) -> Option<Option<IpAddr>> {
        self.next += 1;
        let entry = self.sessions.get_mut(&id)?;
        let (before, had_ended) = (entry.counted(), entry.has_ended);
        change(entry, self.next);
        let (after, has_ended, address) = (entry.counted(), entry.has_ended, entry.address);
        self.live -= usize::from(has_ended && !had_ended);
        self.recount(id, address, before, after);
        Some(address)
    }

    fn remove(&mut self, id: SessionId) -> Option<SessionEntry<S>> {
        let entry = self.sessions.remove(&id)?;
        self.live -= usize::from(!entry.has_ended);
        let none = CountedBytes { bytes: 0, waits: None };
        self.recount(id, entry.address, entry.counted(), none);
        if let Some(share) = self.addresses.get_mut(&entry.address) {
            share.sessions -= 1;
        }
        self.tidy(entry.address);
        // Gives memory back after a burst.
        if self.sessions.capacity() > 64 && self.sessions.len() * 4 < self.sessions.capacity() {
            self.sessions.shrink_to_fit();
        }
        Some(entry)
    }

    fn recount(&mut self, id: SessionId, address: Option<IpAddr>, before: CountedBytes, after: CountedBytes) {
        self.bytes = self.bytes - before.bytes + after.bytes;
        let [taken, given] = [&before, &after].map(CountedBytes::of_address);
        if (taken, before.waits) == (given, after.waits) {
            return;
        }
        let Some(share) = self.addresses.get_mut(&address) else { return };
        share.bytes = share.bytes - taken + given;
        if before.waits != after.waits {
            if let Some(position) = before.waits {
                share.waiting.remove(&position);
                self.waiting.remove(&position);
            }
            if let Some(position) = after.waits {
                share.waiting.insert(position);
                self.waiting.insert(position, id);
            }
        }
    }

    /// Returns the session that is to end next, if the limits are exceeded.
    fn excess(&self, address: Option<IpAddr>, limits: &RegistryLimits, shared: usize) -> Option<SessionId> {
        let share = self.addresses.get(&address);
        let own = share.filter(|share| {
            share.bytes.saturating_add(share.shared.load(Relaxed)) > limits.address_bytes
                || share.waiting.len() > limits.address_sessions
        });
        let oldest = own.and_then(|share| share.waiting.first());
        if let Some(position) = oldest {
            return self.waiting.get(position).copied();
        }
        if self.bytes.saturating_add(shared) <= limits.bytes {
            return None;
        }
        self.waiting.first_key_value().map(|(_, id)| *id)
    }

    fn reserve(&mut self, address: Option<IpAddr>, before: usize, after: usize) {
        self.bytes = self.bytes - before + after;
        let share = self.addresses.entry(address).or_default();
        share.bytes = share.bytes - before + after;
        self.tidy(address);
    }

    /// Forgets an address without sessions and requests.
    fn tidy(&mut self, address: Option<IpAddr>) {
        if self.addresses.get(&address).is_some_and(|share| share.sessions == 0 && share.bytes == 0) {
            self.addresses.remove(&address);
        }
    }
}

/// The part of an entry that counts.
struct CountedBytes {
    bytes: usize,
    waits: Option<u64>,
}

impl CountedBytes {
    fn of_address(&self) -> usize {
        if self.waits.is_some() { self.bytes } else { 0 }
    }
}

impl<S> SessionEntry<S> {
    fn counted(&self) -> CountedBytes {
        let fixed = if self.waits.is_some() { self.fixed } else { 0 };
        CountedBytes { bytes: self.kept.saturating_add(fixed), waits: self.waits }
    }
}

impl<S: Evictable> Reservation<S> {
    /// Changes the number of bytes. Returns false if that is too much, even without the sessions that wait.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        let Self { registry, address, .. } = self;
        let mut state = registry.state();
        state.reserve(*address, self.bytes, bytes);
        self.bytes = bytes;
        registry.settle(state, *address).evict();
        let state = registry.state();
        let taken = state.addresses.get(address).map_or(0, |share| share.bytes);
        let has_room = taken <= registry.limits.address_bytes && !registry.is_pressed();
        drop(state);
        if !has_room && let Some(refused) = registry.refused.count() {
            tracing::warn!(?address, refused, "no room for the body of a session's request");
        }
        has_room
    }
}

impl<S: Evictable> Drop for Reservation<S> {
    fn drop(&mut self) {
        let mut state = self.registry.state();
        state.reserve(self.address, self.bytes, 0);
        self.registry.settle(state, self.address).evict();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        id: SessionId,
        is_evicted: AtomicBool,
    }

    impl Evictable for Fake {
        fn id(&self) -> SessionId {
            self.id
        }

        fn evict(&self) {
            self.is_evicted.store(true, Relaxed);
        }
    }

    fn registry(limit: impl FnOnce(&mut Resume)) -> Arc<Registry<Fake>> {
        let mut resume = Resume::default();
        limit(&mut resume);
        Arc::new(Registry::new(&resume))
    }

    fn enter(registry: &Registry<Fake>) -> Option<Arc<Fake>> {
        let session = Arc::new(Fake { id: SessionId::new().unwrap(), is_evicted: AtomicBool::new(false) });
        registry.enter(&session, None, 0, Arc::default()).then_some(session)
    }

    #[test]
    fn sessions_are_limited() {
        let registry = registry(|resume| resume.max_sessions = 2);
        let [first, second] = [(); 2].map(|()| enter(&registry).unwrap());
        assert!(enter(&registry).is_none());
        registry.end(first.id, 0).evict();
        assert!(enter(&registry).is_some(), "ended sessions do not count");
        registry.forget(second.id);
        assert!(registry.find(second.id).is_none() && registry.len() == 2);
    }

    #[test]
    fn the_oldest_waiting_are_evicted() {
        let registry = registry(|resume| resume.max_waiting_per_address = 2);
        let sessions = [(); 4].map(|()| enter(&registry).unwrap());
        registry.wait(sessions[1].id, 0).evict();
        registry.wait(sessions[0].id, 0).evict();
        registry.wait(sessions[2].id, 0).evict();
        let evicted = sessions.iter().map(|session| session.is_evicted.load(Relaxed));
        assert_eq!(evicted.collect::<Vec<_>>(), [false, true, false, false]);
    }

    #[test]
    fn carried_sessions_are_not_evicted() {
        let registry = registry(|resume| resume.max_bytes = 1000);
        let [waiting, carried] = [(); 2].map(|()| enter(&registry).unwrap());
        registry.keep(carried.id, 900).evict();
        assert!(!registry.is_pressed());
        registry.wait(waiting.id, 200).evict();
        assert!(waiting.is_evicted.load(Relaxed) && !registry.is_pressed());
        registry.keep(carried.id, 1001).evict();
        assert!(!carried.is_evicted.load(Relaxed) && registry.is_pressed());
    }

    #[test]
    fn reservations_are_given_back() {
        let registry = registry(|resume| resume.max_bytes_per_address = 1000);
        let mut body = registry.reserve(None);
        assert!(body.resize(900) && !body.resize(1100));
        drop(body);
        assert!(registry.reserve(None).resize(1000));
        assert!(registry.state().addresses.is_empty());
    }
}
