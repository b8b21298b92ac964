//! [`AddressCounts`]: the number of connections of each address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::sync::lock;

/// A counter of connections by address. An address has an entry while it has connections. Clones share the counts.
#[derive(Clone, Default)]
pub(crate) struct AddressCounts(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A counted connection, until it is dropped.
pub(crate) struct CountedAddress {
    counts: AddressCounts,
    address: IpAddr,
}

impl AddressCounts {
    /// Counts a connection. `None` if its address has reached the limit.
    pub(crate) fn enter(&self, address: IpAddr, limit: usize) -> Option<CountedAddress> {
        let mut counts = self.counts();
        // A refused address has no entry of its own: nothing would remove it.
        let count = counts.get(&address).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        counts.insert(address, count + 1);
        Some(CountedAddress { counts: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        lock(&self.0)
    }
}

impl Drop for CountedAddress {
    fn drop(&mut self) {
        let mut counts = self.counts.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
        // Frees the memory of many addresses that have left together.
        if counts.capacity() > 64 && counts.len() * 4 < counts.capacity() {
            counts.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_forgets_addresses() {
        let (counts, address) = (AddressCounts::default(), IpAddr::from([127, 0, 0, 1]));
        let first = counts.enter(address, 2).unwrap();
        let second = counts.enter(address, 2).unwrap();
        assert!(counts.enter(address, 2).is_none());
        assert!(counts.enter(IpAddr::from([127, 0, 0, 2]), 2).is_some());
        drop(first);
        assert!(counts.enter(address, 2).is_some());
        drop(second);
        assert!(counts.counts().is_empty());
        assert!(counts.enter(address, 0).is_none());
        assert!(counts.counts().is_empty(), "a refused address is forgotten");
    }
}
