#![doc = include_str!("docs/crate.md")]

mod client;
mod codec;
mod config;
mod error;
mod keys;
mod native;
mod ring;
mod schemes;
mod stats;
mod supervisor;
mod topology;

#[doc = include_str!("docs/operations.md")]
pub mod operations {}

pub use self::{config::RedisConfig, native::RedisLayer, schemes::schemes, stats::Stats};

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
