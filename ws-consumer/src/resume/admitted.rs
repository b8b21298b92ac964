//! The credentials with which the clients of sessions were let in, as digests.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use http::{HeaderMap, header};

use super::token::SessionId;

/// Sessions of other processes whose clients were looked at here.
const REMEMBERED: usize = 10_000;

/// Digests by session, and the number of sessions with the same one.
#[derive(Default)]
pub(super) struct Admitted {
    sessions: HashMap<SessionId, u64>,
    digests: HashMap<u64, usize>,
    hasher: RandomState,
}

impl Admitted {
    /// Returns the digest of the credentials that a browser adds by itself and an application may act on.
    /// Keyed, so that collisions cannot be constructed.
    pub(super) fn digest(&self, headers: &HeaderMap) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for name in [header::ORIGIN, header::COOKIE, header::AUTHORIZATION, header::HOST] {
            for value in headers.get_all(name) {
                hasher.write(value.as_bytes());
                hasher.write_u8(0xFF); // in no header
            }
            hasher.write_u8(0xFE);
        }
        hasher.finish()
    }

    /// Returns whether a request shows what this session's client was let in with.
    pub(super) fn is(&self, session: SessionId, headers: &HeaderMap) -> bool {
        self.sessions.get(&session) == Some(&self.digest(headers))
    }

    /// Returns whether any session's client was let in with this.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        self.digests.contains_key(&self.digest(headers))
    }

    /// Notes a session's digest. `own` is the number of this process's sessions, `is_own` tells them apart.
    pub(super) fn remember(
        &mut self,
        session: SessionId,
        digest: u64,
        own: usize,
        is_own: impl Fn(SessionId) -> bool,
    ) {
        if self.sessions.len() >= own + REMEMBERED {
            // Those of other processes that came longest ago cannot be told apart: who is forgotten is looked at again.
            self.sessions.retain(|id, _| is_own(*id));
            self.digests.clear();
            for digest in self.sessions.values() {
                *self.digests.entry(*digest).or_default() += 1;
            }
        }
        self.forget(session);
        self.sessions.insert(session, digest);
        *self.digests.entry(digest).or_default() += 1;
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        let Some(digest) = self.sessions.remove(&session) else { return };
        if let Some(count) = self.digests.get_mut(&digest) {
            *count -= 1;
            if *count == 0 {
                self.digests.remove(&digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(cookie: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(cookie))])
    }

    #[test]
    fn what_let_nobody_in_any_more_is_not_known() {
        let mut admitted = Admitted::default();
        let [one, other] = [(); 2].map(|()| SessionId::new().unwrap());
        let digest = admitted.digest(&headers("a"));
        for session in [one, other, one] {
            admitted.remember(session, digest, 2, |_| true);
        }
        assert!(admitted.is(one, &headers("a")) && !admitted.is(one, &headers("b")));
        admitted.forget(one);
        assert!(admitted.knows(&headers("a")) && !admitted.is(one, &headers("a")));
        admitted.forget(other);
        assert!(!admitted.knows(&headers("a")));
    }

    #[test]
    fn sessions_of_other_processes_are_remembered_up_to_a_number() {
        let mut admitted = Admitted::default();
        for number in 0..REMEMBERED as u64 + 5 {
            admitted.remember(SessionId::new().unwrap(), number, 0, |_| false);
        }
        assert_eq!((admitted.sessions.len(), admitted.digests.len()), (5, 5));
    }
}
