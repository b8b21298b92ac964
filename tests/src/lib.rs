//! Support for the tests of whole programs: starting them, talking to them, ending them.
//!
//! All functions panic instead of returning errors, with the output of the program under test: a test
//! that cannot start its server has failed, and says why.

mod auction;
mod binaries;
mod browser;
mod client;
mod http;
mod limits;
mod nginx;
mod peer;
mod program;
mod proxy;
mod redis;
mod server;

use std::time::Duration;

pub use crate::auction::{Auction, Viewer};
pub use crate::binaries::path_of;
pub use crate::browser::{Browser, Tab};
pub use crate::client::{Ending, Member};
pub use crate::http::{Answer, ask, ask_upgrade, post_form};
pub use crate::limits::{allocated, let_open, may_open, open_files, resident};
pub use crate::nginx::{Nginx, SERVED_BY};
pub use crate::peer::{python, verdict};
pub use crate::program::{Program, Signal};
pub use crate::proxy::{Proxy, Upgrades};
pub use crate::redis::Redis;
pub use crate::server::{Lane, Server};

/// The longest wait of a test. Only a broken program reaches it: it is not a measure of speed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the output of `future`.
///
/// # Panics
/// After [`DEADLINE`], naming `what` the test was waiting for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing within {DEADLINE:?}"),
    }
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
