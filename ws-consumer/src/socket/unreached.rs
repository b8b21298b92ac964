//! The log of messages to users that reached no connection.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::scope::printable;

/// Entries of the log per period: messages to thousands of absent users must not fill it.
const MOST: usize = 64;
const PERIOD: Duration = Duration::from_secs(60);

/// The kind of message.
#[derive(Clone, Copy, Hash, PartialEq, Eq)]
pub(super) enum Purpose {
    Close,
    Event,
}

/// Locked for a look-up, and only for messages that reach no connection.
static NOTED: LazyLock<Mutex<Noted>> = LazyLock::new(Mutex::default);

/// The users that the log has named. Kept as hashes; cleared a while after there are too many.
#[derive(Default)]
struct Noted {
    seed: RandomState,
    known: HashSet<u64>,
    since: Option<Instant>,
    full: bool,
}

impl Noted {
    fn is_new(&mut self, key: u64, now: Instant) -> bool {
        if self.full && self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            (self.known, self.full) = (HashSet::new(), false);
        }
        if self.known.is_empty() {
            self.since = Some(now);
        }
        self.full |= self.known.len() >= MOST;
        !self.full && self.known.insert(key)
    }
}

/// Logs that no connection was reached, once for each user of a layer.
pub(super) fn note<L: ?Sized>(layer: &L, user: &str, purpose: Purpose) {
    let layer = std::ptr::from_ref(layer).cast::<()>().addr();
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = noted.seed.hash_one((layer, user, purpose));
    let is_new = noted.is_new(key, Instant::now());
    drop(noted);
    let user = &*printable(user);
    match purpose {
        _ if !is_new => tracing::debug!(user, "nothing of this user was reached"),
        Purpose::Close => {
            tracing::warn!(user, "a close reached nobody: no connection is identified as this user's")
        }
        Purpose::Event => {
            tracing::info!(user, "an event reached nobody: no connection is identified as this user's")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_noted_once_and_a_crowd_of_them_is_bounded() {
        let (mut noted, now) = (Noted::default(), Instant::now());
        assert!(noted.is_new(7, now) && !noted.is_new(7, now + 2 * PERIOD));
        assert_eq!((0..1000).filter(|key| noted.is_new(*key, now)).count(), MOST - 1);
        assert!(!noted.is_new(2000, now + PERIOD / 2));
        assert_eq!((0..1000).filter(|key| noted.is_new(*key, now + PERIOD)).count(), MOST);
    }
}
