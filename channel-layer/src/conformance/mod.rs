#![doc = include_str!("README.md")]

#[macro_use]
mod cases;

pub mod audiences;
pub mod channels;
pub mod content;
pub mod expiry;
pub mod foreign;
pub mod groups;
pub mod life;
pub mod mailboxes;
pub mod named;
pub mod order;
pub mod outages;
pub mod processes;
pub mod reports;
pub mod residue;
pub mod selections;

#[doc = include_str!("django.md")]
pub mod django {}

mod fixture;
mod harness;
mod mount;
mod path;

use std::{
    fmt,
    io::{Write, stderr},
    pin::Pin,
};

use tokio::time::timeout;

#[doc(hidden)]
pub use __conformance_cases;

pub use self::{
    harness::{Harness, Residue, Timing},
    mount::{Mount, Summary, run_all},
};

/// The reason why a case does not apply to a backend.
///
/// Holds the name of the field of [`Capabilities`](crate::Capabilities) that the backend does not claim, or of the
/// method of [`Harness`] that has no effect on it. A mount lists the skip under this name, or under the name of the
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip(pub &'static str);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "does not apply, because of `{}`", self.0)
    }
}

/// The outcome of a case that did not fail. A failing case panics with the reason.
pub type Verdict = Result<(), Skip>;

/// A case that runs.
pub type Running<'a> = Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// A case of the suite.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Case {
    /// The module that the case belongs to, such as `groups`.
    pub area: &'static str,
    /// The behaviour that must hold, as a name.
    pub name: &'static str,
    /// The items of the [list of Django Channels' behaviour](django) that it covers. Empty if Django has none.
    pub covers: &'static str,
    /// Runs the case. Needs a tokio runtime, such as [`Harness::runtime`].
    pub run: for<'a> fn(&'a dyn Harness) -> Running<'a>,
}

/// Returns all cases.
pub fn cases() -> &'static [Case] {
    __conformance_cases! { __conformance_list!() }
}

/// Returns the case of this name.
pub fn case(name: &str) -> Option<Case> {
    cases().iter().find(|case| case.name == name).copied()
}

/// Runs a case on the harness's runtime. A skip is written to standard error, even if output is captured, so that it
/// does not look like a pass.
///
/// # Panics
/// If the backend violates the case, or claims an ability that the harness cannot test.
pub fn run(harness: &dyn Harness, case: &Case) -> Verdict {
    let limit = harness.timing().limit;
    let verdict = harness.runtime().block_on(async {
        timeout(limit, (case.run)(harness)).await.unwrap_or_else(|_| panic!("not done within {limit:?}"))
    });
    if let Err(skip) = verdict {
        print(&format!("skipped: {} {skip}", case.name));
    }
    verdict
}

/// Writes a line to standard error.
fn print(line: &str) {
    // Not `eprintln`, which the test runner captures; in one call, because tests run side by side.
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests;
