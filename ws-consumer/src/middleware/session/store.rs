//! Sessions in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use cookie::time::OffsetDateTime;
use tower_sessions_core::{
    SessionStore,
    session::{Id, Record},
    session_store::{Error, Result},
};

/// How many sessions there may be. 100,000 of a few hundred bytes each are some tens of megabytes.
const MOST: usize = 100_000;

/// Sessions of this process, gone when it ends: for one process, for tests and for development. Clones are the same
/// store.
///
/// Sessions that have ended are removed as new ones come. At most 100,000 are kept; with more, none can be begun.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Records>>);

#[derive(Debug, Default)]
struct Records {
    all: HashMap<Id, Record>,
    /// When there are so many, those that have ended are looked for.
    sweep_at: usize,
}

impl MemoryStore {
    /// How many sessions are kept, those included that have ended and were not removed yet.
    pub fn len(&self) -> usize {
        self.records().all.len()
    }

    /// Is no session kept?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    /// Looks through all of them only when their number has doubled: a constant cost per session.
    fn sweep(&mut self) {
        if self.all.len() < self.sweep_at.max(64) {
            return;
        }
        let now = OffsetDateTime::now_utc();
        self.all.retain(|_, record| record.expiry_date > now);
        self.sweep_at = (self.all.len() * 2).min(MOST);
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let mut records = self.records();
        records.sweep();
        if records.all.len() >= MOST {
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
    async fn sessions_that_have_ended_are_neither_found_nor_kept() {
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
    async fn an_id_is_given_out_once() {
        let store = MemoryStore::default();
        let mut first = record(Duration::HOUR);
        store.create(&mut first).await.unwrap();
        let mut second = first.clone();
        store.create(&mut second).await.unwrap();
        assert_ne!(first.id, second.id);
    }
}
