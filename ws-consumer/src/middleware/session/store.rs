//! Sessions in memory.

use std::{
    collections::HashMap,
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

/// The largest number of sessions. 100,000 of a few hundred bytes each take some tens of megabytes.
const CAPACITY: usize = 100_000;

/// A store in the memory of this process, for a single process, tests and development. Clones share the store.
///
/// Expired sessions are removed when new ones are created. At most 100,000 are kept; beyond that none can be created.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Records>>);

#[derive(Debug, Default)]
struct Records {
    all: HashMap<Id, Record>,
    /// The number of sessions at which expired ones are removed.
    sweep_at: usize,
}

impl MemoryStore {
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

impl Records {
    /// Removes expired sessions each time the number has doubled: a constant cost per session.
    fn sweep(&mut self) {
        if self.all.len() < self.sweep_at.max(64) {
            return;
        }
        let now = OffsetDateTime::now_utc();
        self.all.retain(|_, record| record.expiry_date > now);
        self.sweep_at = (self.all.len() * 2).min(CAPACITY);
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let mut records = self.records();
        records.sweep();
        if records.all.len() >= CAPACITY {
            return Err(Error::Backend("there are too many sessions".to_owned()));
        }
        while records.all.contains_key(&record.id) {
            record.id = Id::default();
        }
        records.all.insert(record.id, record.clone());
        Ok(())
    }

    async fn save(&self, record: &Record) -> Result<()> {
        self.records().all.insert(record.id, record.clone());
        Ok(())
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let record = self.records().all.get(id).cloned();
        Ok(record.filter(|record| record.expiry_date > OffsetDateTime::now_utc()))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.records().all.remove(id);
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
        for _ in 0..1000 {
            store.create(&mut record(Duration::seconds(-1))).await.unwrap();
        }
        assert!(store.len() <= 129, "{}", store.len());
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
