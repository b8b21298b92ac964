//! How many connections somebody has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections by address. An entry lives as long as one of its connections.
#[derive(Clone, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// One connection, for as long as it lives.
pub(super) struct Entered {
    connections: Connections,
    address: IpAddr,
}

impl Connections {
    /// One more connection of this address; nothing if there are `most`.
    pub(super) fn enter(&self, address: IpAddr, most: u32) -> Option<Entered> {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Entered { connections: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
        // A crowd that left gives its memory back.
        if counts.capacity() > 64 && counts.len() * 4 < counts.capacity() {
            counts.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_none_is_remembered_when_all_have_left() {
        let (connections, address) = (Connections::default(), IpAddr::from([127, 0, 0, 1]));
        let first = connections.enter(address, 2).unwrap();
        let second = connections.enter(address, 2).unwrap();
        assert!(connections.enter(address, 2).is_none());
        assert!(connections.enter(IpAddr::from([127, 0, 0, 2]), 2).is_some());
        drop(first);
        assert!(connections.enter(address, 2).is_some());
        drop(second);
        assert!(connections.counts().is_empty());
    }
}
