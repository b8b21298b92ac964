//! Many buckets in bounded memory.
//!
//! Two maps, a young and an old one. What is used moves to the young; when the young one is full, or a full bucket's
//! time has passed, the old one is dropped as a whole and the young one grows old. So a look-up costs two at most,
//! nobody ever walks through the entries, and what was not used for long enough to be full again is gone by itself.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    mem,
    sync::{Mutex, PoisonError},
};

use super::bucket::{Bucket, Rate};

/// Locks that many tasks share without meeting often.
const SHARDS: usize = 16;

/// Buckets by key. Keys are kept as hashes under a secret seed: sixteen bytes an entry, whatever they are.
pub(super) struct Table {
    rate: Rate,
    seed: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Entries of each map of a shard.
    most: usize,
}

#[derive(Default)]
struct Shard {
    young: HashMap<u64, Bucket>,
    old: HashMap<u64, Bucket>,
    turned: u64,
}

impl Table {
    /// For about so many keys at once. With more, those that were not used for longest are forgotten: their next
    /// message finds a full bucket.
    pub(super) fn new(rate: Rate, most: usize) -> Self {
        // An eighth more, as keys do not spread evenly.
        let most = most.div_ceil(SHARDS) * 9 / 8 + 1;
        Self { rate, seed: RandomState::new(), shards: Default::default(), most }
    }

    pub(super) fn take(&self, key: impl Hash, count: u64, now: u64) -> Result<(), u64> {
        self.with(key, now, |bucket| bucket.take(self.rate, count, now))
    }

    pub(super) fn owe(&self, key: impl Hash, count: u64, now: u64) -> u64 {
        self.with(key, now, |bucket| bucket.owe(self.rate, count, now))
    }

    fn with<T>(&self, key: impl Hash, now: u64, use_it: impl FnOnce(&mut Bucket) -> T) -> T {
        let key = self.seed.hash_one(key);
        let shard = &self.shards[usize::try_from(key % SHARDS as u64).unwrap_or(0)];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.turn(self.rate, self.most, now);
        let Shard { young, old, .. } = &mut *shard;
        use_it(young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_default()))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(count).sum()
    }
}

impl Shard {
    fn turn(&mut self, rate: Rate, most: usize, now: u64) {
        let is_late = now.saturating_sub(self.turned) > rate.window();
        if is_late || self.young.len() >= most {
            self.turned = now;
            self.old = mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_million_keys_take_the_room_of_some() {
        let table = Table::new(Rate::per_second(1), 100_000);
        for key in 0..1_000_000_u32 {
            assert_eq!(table.take(key, 1, SECOND), Ok(()));
        }
        assert!(table.len() <= 250_000, "{}", table.len());
    }

    #[test]
    fn a_hundred_thousand_keys_are_all_remembered() {
        let table = Table::new(Rate::per_second(1), 100_000);
        let all = || (0..100_000_u32).filter(|key| table.take(key, 1, SECOND).is_ok()).count();
        assert_eq!(all(), 100_000);
        assert_eq!(all(), 0, "every one of them has spent what it had");
    }

    #[test]
    fn keys_that_are_not_used_any_more_go() {
        let table = Table::new(Rate::per_second(1).burst(5), 100_000);
        (0..10_000_u32).for_each(|key| table.take(key, 1, SECOND).unwrap());
        assert_eq!(table.len(), 10_000);
        // Two windows later a shard has turned twice when it is next used.
        for later in [7, 13] {
            (0..1000_u32).for_each(|key| table.take(key, 1, later * SECOND).unwrap());
        }
        assert!(table.len() <= 1000, "{}", table.len());
    }

    #[test]
    fn a_turn_forgives_nobody_who_is_in_debt() {
        let table = Table::new(Rate::per_second(1).burst(5), 100_000);
        table.take("a", 5, 5 * SECOND).unwrap();
        // The shard turns here, for its window has passed since its beginning; the debt is remembered.
        assert!(table.take("a", 5, 6 * SECOND).is_err());
        assert_eq!(table.take("a", 1, 6 * SECOND), Ok(()));
    }
}
