//! An id for each request, which connects the log lines about it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{HeaderName, HeaderValue};

use super::{guard::Guard, request::GuardRequest};
use crate::wire::Refuse;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, in [`extensions`](crate::Scope::extensions). It is unique and not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The text of the id: at most 64 letters, digits, `-`, `_` and `.`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives every request a [`RequestId`], and adds it to the response as `X-Request-Id`.
#[derive(Debug)]
pub struct RequestIds {
    trusts_proxy: bool,
    seeds: [RandomState; 2],
    next: AtomicU64,
}

impl RequestIds {
    /// Creates a new id for every request.
    pub fn new() -> Self {
        Self { trusts_proxy: false, seeds: [RandomState::new(), RandomState::new()], next: AtomicU64::new(0) }
    }

    /// Takes a valid id from the request's `X-Request-Id`. For servers that only a proxy can reach.
    pub fn from_proxy() -> Self {
        Self { trusts_proxy: true, ..Self::new() }
    }

    fn make(&self) -> String {
        // Unique by the counter within the process, and by the seeds across processes.
        let count = self.next.fetch_add(1, Relaxed);
        let [high, low] = self.seeds.each_ref().map(|seed| seed.hash_one(count));
        format!("{high:016x}{low:016x}")
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Guard for RequestIds {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let received =
            request.header(X_REQUEST_ID).filter(|id| self.trusts_proxy && is_valid(id)).map(str::to_owned);
        let id = received.unwrap_or_else(|| self.make());
        if let Ok(value) = HeaderValue::from_str(&id) {
            request.on_answer(|headers| _ = headers.insert(X_REQUEST_ID, value));
        }
        request.extensions.insert(RequestId(id.into()));
        Ok(())
    }
}

fn is_valid(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=64).contains(&id.len()) && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_valid() {
        let ids = RequestIds::new();
        let made: HashSet<_> = (0..1000).map(|_| ids.make()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| is_valid(id)));
    }

    #[test]
    fn rejects_ids_that_forge_logs() {
        for id in ["", "a b", "a\nb", "\u{1b}[2J", "x".repeat(65).as_str(), "a=b"] {
            assert!(!is_valid(id), "{id:?}");
        }
        assert!(is_valid("4f62-Zy1b_0.1"));
    }
}
