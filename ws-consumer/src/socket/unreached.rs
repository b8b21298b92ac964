//! The log of messages to users that reached no connection.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use crate::{error::printable, sync::lock};

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
static LOGGED: LazyLock<Mutex<LoggedUsers>> = LazyLock::new(Mutex::default);

/// The users that the log has named. Kept as hashes; cleared a while after there are too many.
#[derive(Default)]
struct LoggedUsers {
    seed: RandomState,
    known: HashSet<u64>,
    since: Option<Instant>,
    full: bool,
}

impl LoggedUsers {
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
    let mut logged = lock(&LOGGED);
    let key = logged.seed.hash_one((layer, user, purpose));
    let is_new = logged.is_new(key, Instant::now());
    drop(logged);
    let user = &*printable(user);
    match purpose {
        _ if !is_new => tracing::debug!(user, "no connection of this user was reached"),
        Purpose::Close => {
            tracing::warn!(user, "a close reached no connection: none is identified as this user's")
        }
        Purpose::Event => {
            tracing::info!(user, "an event reached no connection: none is identified as this user's")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_each_user_once() {
        let (mut logged, now) = (LoggedUsers::default(), Instant::now());
        assert!(logged.is_new(7, now) && !logged.is_new(7, now + 2 * PERIOD));
        assert_eq!((0..1000).filter(|key| logged.is_new(*key, now)).count(), MOST - 1);
        assert!(!logged.is_new(2000, now + PERIOD / 2));
        assert_eq!((0..1000).filter(|key| logged.is_new(*key, now + PERIOD)).count(), MOST);
    }
}
