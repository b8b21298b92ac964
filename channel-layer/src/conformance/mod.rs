#![doc = include_str!("README.md")]

pub mod channels;
pub mod expiry;
pub mod groups;
pub mod life;
pub mod mailboxes;
pub mod outages;
pub mod processes;

#[macro_use]
mod cases;
mod harness;
mod stage;

use std::{
    io::{Write, stderr},
    pin::Pin,
};

use tokio::time::timeout;

#[doc(hidden)]
pub use __conformance_cases;

pub use self::harness::{Harness, Timing};

/// Why a case does not apply to a backend, in words for the one who reads the tests' output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip(pub &'static str);

/// What a case comes to. One that fails panics, with the reason.
pub type Verdict = Result<(), Skip>;

/// A case that runs.
pub type Running<'a> = Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// One case of the suite.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Case {
    /// Its name, which says what is to hold.
    pub name: &'static str,
    /// The items of the checklist of Django Channels' behaviour that it covers; some cases are our own.
    pub covers: &'static str,
    /// Runs it. Wants a tokio runtime, such as [`Harness::runtime`].
    pub run: for<'a> fn(&'a dyn Harness) -> Running<'a>,
}

/// All cases.
pub fn cases() -> &'static [Case] {
    __conformance_cases! { __conformance_list!() }
}

/// The case of this name.
pub fn case(name: &str) -> Option<Case> {
    cases().iter().find(|case| case.name == name).copied()
}

/// Runs a case on the harness's runtime. If the case does not apply, says so on standard error, also where
/// output is captured: a skip must not look like a pass.
///
/// # Panics
/// If the backend does not behave as the case wants.
pub fn run(harness: &dyn Harness, case: &Case) -> Verdict {
    let limit = harness.timing().limit;
    let verdict = harness.runtime().block_on(async {
        timeout(limit, (case.run)(harness)).await.unwrap_or_else(|_| panic!("not done within {limit:?}"))
    });
    if let Err(Skip(reason)) = verdict {
        // Not `eprintln`, which the test runner swallows; in one go, because tests run side by side.
        let line = format!("skipped: {}: {reason}\n", case.name);
        let _ = stderr().write_all(line.as_bytes());
    }
    verdict
}

#[cfg(test)]
mod tests;
