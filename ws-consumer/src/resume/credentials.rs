//! The credentials with which the clients of sessions were admitted, as digests.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use http::{HeaderMap, header};

use super::token::SessionId;

/// The remembered sessions of other processes whose clients were admitted here.
const REMEMBERED: usize = 10_000;

/// The digest of each session's client, and the number of sessions with the same digest.
#[derive(Default)]
pub(super) struct AdmittedCredentials {
    sessions: HashMap<SessionId, u64>,
    digests: HashMap<u64, usize>,
    hasher: RandomState,
}

impl AdmittedCredentials {
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

    /// Whether a request has the credentials with which this session's client was admitted.
    pub(super) fn is(&self, session: SessionId, headers: &HeaderMap) -> bool {
        self.sessions.get(&session) == Some(&self.digest(headers))
    }

    /// Whether any session's client was admitted with these credentials.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        self.digests.contains_key(&self.digest(headers))
    }

    /// Remembers a session's digest. `local` is the number of this process's sessions, `is_local` tells them apart.
    pub(super) fn remember(
        &mut self,
        session: SessionId,
        digest: u64,
        local: usize,
        is_local: impl Fn(SessionId) -> bool,
    ) {
        if self.sessions.len() >= local + REMEMBERED {
            // The oldest of other processes are not known. A forgotten client is admitted again by the guards.
            self.sessions.retain(|id, _| is_local(*id));
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
    fn unused_digests_are_forgotten() {
        let mut admitted = AdmittedCredentials::default();
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
    fn remote_sessions_are_bounded() {
        let mut admitted = AdmittedCredentials::default();
        for number in 0..REMEMBERED as u64 + 5 {
            admitted.remember(SessionId::new().unwrap(), number, 0, |_| false);
        }
        assert_eq!((admitted.sessions.len(), admitted.digests.len()), (5, 5));
    }
}
