//! A name for each request, to find all that was logged about it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{HeaderName, HeaderValue};

use super::guard::{Guard, GuardRequest};
use crate::wire::Refuse;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name of a request, in [`extensions`](crate::Scope::extensions). Unique, and no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// As text: letters, digits, `-`, `_` and `.`, at most 64 of them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives every request a [`RequestId`], and tells it in the answer's header `X-Request-Id`.
#[derive(Debug)]
pub struct RequestIds {
    believe: bool,
    seeds: [RandomState; 2],
    next: AtomicU64,
}

impl RequestIds {
    /// New names for all.
    pub fn new() -> Self {
        Self { believe: false, seeds: [RandomState::new(), RandomState::new()], next: AtomicU64::new(0) }
    }

    /// Takes over the name that a request brings along in `X-Request-Id`, if it is a sound one: for servers that only
    /// a proxy can reach.
    pub fn from_proxy() -> Self {
        Self { believe: true, ..Self::new() }
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
        let brought =
            request.header(X_REQUEST_ID).filter(|id| self.believe && is_sound(id)).map(str::to_owned);
        let id = brought.unwrap_or_else(|| self.make());
        if let Ok(value) = HeaderValue::from_str(&id) {
            request.on_answer(|headers| _ = headers.insert(X_REQUEST_ID, value));
        }
        request.extensions.insert(RequestId(id.into()));
        Ok(())
    }
}

fn is_sound(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=64).contains(&id.len()) && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_sound() {
        let ids = RequestIds::new();
        let made: HashSet<_> = (0..1000).map(|_| ids.make()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| is_sound(id)));
    }

    #[test]
    fn what_could_forge_a_line_of_a_log_is_not_taken_over() {
        for id in ["", "a b", "a\nb", "\u{1b}[2J", "x".repeat(65).as_str(), "a=b"] {
            assert!(!is_sound(id), "{id:?}");
        }
        assert!(is_sound("4f62-Zy1b_0.1"));
    }
}
