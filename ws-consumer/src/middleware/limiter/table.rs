//! Token buckets by key in bounded memory.
//!
//! Each shard has a young map and an old one. A used entry moves to the young map. When the young map is full, or after the
//! refill time of a bucket, the old map is dropped and the young one takes its place. A lookup therefore costs two at
//! most, no scan of the entries is needed, and buckets that have refilled disappear.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    mem,
    sync::Mutex,
};

use super::bucket::{Rate, TokenBucket};
use crate::sync::lock;

/// The number of locks, so that tasks rarely contend.
const SHARDS: usize = 16;

/// Token buckets by key. Keys are stored as hashes under a secret seed: sixteen bytes per entry.
pub(super) struct BucketTable {
    rate: Rate,
    seed: RandomState,
    shards: [Mutex<BucketShard>; SHARDS],
    /// The capacity of each map of a shard.
    most: usize,
}

#[derive(Default)]
struct BucketShard {
    young: HashMap<u64, TokenBucket>,
    old: HashMap<u64, TokenBucket>,
    rotated: u64,
}

impl BucketTable {
    /// Creates a table for about `most` keys. With more, the least recently used keys are dropped: their next message
    /// finds a full bucket.
    pub(super) fn new(rate: Rate, most: usize) -> Self {
        // An eighth more, as keys are not spread evenly.
        let most = most.div_ceil(SHARDS) * 9 / 8 + 1;
        Self { rate, seed: RandomState::new(), shards: Default::default(), most }
    }

    pub(super) fn take(&self, key: impl Hash, count: u64, now: u64) -> Result<(), u64> {
        self.with(key, now, |bucket| bucket.take(self.rate, count, now))
    }

    pub(super) fn owe(&self, key: impl Hash, count: u64, now: u64) -> u64 {
        self.with(key, now, |bucket| bucket.owe(self.rate, count, now))
    }

    fn with<T>(&self, key: impl Hash, now: u64, use_it: impl FnOnce(&mut TokenBucket) -> T) -> T {
        let key = self.seed.hash_one(key);
        let shard = &self.shards[usize::try_from(key % SHARDS as u64).unwrap_or(0)];
        let mut shard = lock(shard);
        shard.rotate(self.rate, self.most, now);
        let BucketShard { young, old, .. } = &mut *shard;
        use_it(young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_default()))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let count = |shard: &Mutex<BucketShard>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(count).sum()
    }
}

impl BucketShard {
    fn rotate(&mut self, rate: Rate, most: usize, now: u64) {
        let is_late = now.saturating_sub(self.rotated) > rate.window();
        if is_late || self.young.len() >= most {
            self.rotated = now;
            self.old = mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn memory_is_bounded() {
        let table = BucketTable::new(Rate::per_second(1), 100_000);
        for key in 0..1_000_000_u32 {
            assert_eq!(table.take(key, 1, SECOND), Ok(()));
        }
        assert!(table.len() <= 250_000, "{}", table.len());
    }

    #[test]
    fn remembers_all_keys() {
        let table = BucketTable::new(Rate::per_second(1), 100_000);
        let all = || (0..100_000_u32).filter(|key| table.take(key, 1, SECOND).is_ok()).count();
        assert_eq!(all(), 100_000);
        assert_eq!(all(), 0, "every bucket is empty");
    }

    #[test]
    fn drops_unused_keys() {
        let table = BucketTable::new(Rate::per_second(1).burst(5), 100_000);
        (0..10_000_u32).for_each(|key| table.take(key, 1, SECOND).unwrap());
        assert_eq!(table.len(), 10_000);
        // Two windows later a shard has rotated twice when it is next used.
        for later in [7, 13] {
            (0..1000_u32).for_each(|key| table.take(key, 1, later * SECOND).unwrap());
        }
        assert!(table.len() <= 1000, "{}", table.len());
    }

    #[test]
    fn rotation_keeps_debts() {
        let table = BucketTable::new(Rate::per_second(1).burst(5), 100_000);
        table.take("a", 5, 5 * SECOND).unwrap();
        // The shard rotates here, as its window has passed since its start; the debt is kept.
        assert!(table.take("a", 5, 6 * SECOND).is_err());
        assert_eq!(table.take("a", 1, 6 * SECOND), Ok(()));
    }
}
