//! What is wrong with a route.

use std::fmt;

/// A fault in a pattern, or a URL that cannot be made. Says which, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    subject: String,
    fault: String,
}

impl RouteError {
    pub(super) fn new(subject: &str, fault: String) -> Self {
        Self { subject: subject.to_owned(), fault }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route `{}`: {}", self.subject, self.fault)
    }
}

impl std::error::Error for RouteError {}
