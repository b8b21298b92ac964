//! Errors of routes.

use std::fmt;

/// An invalid pattern, or a URL that cannot be made. The text names the route and the reason.
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
