//! Sessions in memory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use cookie::time::OffsetDateTime;
use tower_sessions_core::{
    SessionStore,
    session::{Id, Record},
    session_store::{Error, Result},
};

use crate::sync::lock;

/// The default number of sessions. 100,000 of a few hundred bytes each take some tens of megabytes.
const CAPACITY: usize = 100_000;

/// A store in the memory of this process, for a single process, tests and development. Clones share the store.
///
/// Expired sessions are removed by the next call that writes; there is no task, and no timer of a session. At most 100,000
/// sessions that have not expired are kept ([`with_capacity`](Self::with_capacity)); beyond that none can be created. The size of
/// a session is bounded only by what the application stores in it.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Mutex<Records>>);

#[derive(Debug)]
struct Records {
    all: HashMap<Id, Record>,
    /// The sessions in the order of their ends.
    ends: BTreeSet<(OffsetDateTime, i128)>,
    capacity: usize,
}

impl MemoryStore {
    /// Returns an empty store for at most this number of sessions.
    pub fn with_capacity(sessions: usize) -> Self {
        let records = Records { all: HashMap::new(), ends: BTreeSet::new(), capacity: sessions };
        Self(Arc::new(Mutex::new(records)))
    }

    /// The number of sessions, including expired ones that are not removed yet.
    pub fn len(&self) -> usize {
        self.records().all.len()
    }

    /// Whether the store is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        lock(&self.0)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Records {
    fn remove_expired(&mut self) {
        let now = OffsetDateTime::now_utc();
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, id)) = self.ends.pop_first() {
                self.all.remove(&Id(id));
            }
        }
    }

    fn insert(&mut self, record: &Record) -> Result<()> {
        self.remove_expired();
        if self.all.len() >= self.capacity && !self.all.contains_key(&record.id) {
            return Err(Error::Backend("there are too many sessions".to_owned()));
        }
        self.remove(&record.id);
        self.ends.insert((record.expiry_date, record.id.0));
        self.all.insert(record.id, record.clone());
        Ok(())
    }

    fn remove(&mut self, id: &Id) {
        if let Some(record) = self.all.remove(id) {
            self.ends.remove(&(record.expiry_date, id.0));
        }
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let mut records = self.records();
        while records.all.contains_key(&record.id) {
            record.id = Id::default();
        }
        records.insert(record)
    }

    async fn save(&self, record: &Record) -> Result<()> {
        self.records().insert(record)
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let record = self.records().all.get(id).cloned();
        Ok(record.filter(|record| record.expiry_date > OffsetDateTime::now_utc()))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.records().remove(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cookie::time::Duration;

    use super::*;

    fn record(lifetime: Duration) -> Record {
        Record { id: Id::default(), data: HashMap::new(), expiry_date: OffsetDateTime::now_utc() + lifetime }
    }

    #[tokio::test]
    async fn removes_expired_sessions() {
        let store = MemoryStore::default();
        let mut ended = record(Duration::seconds(-1));
        store.create(&mut ended).await.unwrap();
        assert!(store.load(&ended.id).await.unwrap().is_none());
        let mut alive = record(Duration::HOUR);
        store.create(&mut alive).await.unwrap();
        for _ in 0..1000 {
            store.create(&mut record(Duration::seconds(-1))).await.unwrap();
        }
        assert_eq!(store.len(), 2, "the last one is removed by the next call");
        // Its end moves: it is known by the new one only.
        alive.expiry_date = OffsetDateTime::now_utc() - Duration::SECOND;
        store.save(&alive).await.unwrap();
        store.create(&mut record(Duration::HOUR)).await.unwrap();
        assert_eq!((store.len(), store.records().ends.len()), (1, 1));
    }

    #[tokio::test]
    async fn capacity_is_bounded() {
        let store = MemoryStore::with_capacity(2);
        let (mut first, mut brief) = (record(Duration::HOUR), record(Duration::milliseconds(50)));
        store.create(&mut first).await.unwrap();
        store.create(&mut brief).await.unwrap();
        let mut more = record(Duration::HOUR);
        assert!(store.create(&mut more).await.is_err() && store.save(&more).await.is_err());
        store.save(&first).await.unwrap();
        while OffsetDateTime::now_utc() < brief.expiry_date {
            std::thread::yield_now();
        }
        store.create(&mut more).await.unwrap();
        store.delete(&first.id).await.unwrap();
        store.delete(&first.id).await.unwrap();
        assert_eq!((store.len(), store.records().ends.len()), (1, 1));
    }

    #[tokio::test]
    async fn ids_are_unique() {
        let store = MemoryStore::default();
        let mut first = record(Duration::HOUR);
        store.create(&mut first).await.unwrap();
        let mut second = first.clone();
        store.create(&mut second).await.unwrap();
        assert_ne!(first.id, second.id);
    }
}
