#![doc = include_str!("docs/crate.md")]

mod config;
mod error;
mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz_targets;
mod layer;
mod link;
mod modes;
#[cfg(feature = "sessions")]
mod sessions;
mod stats;
mod sync;

#[doc = include_str!("docs/django.md")]
pub mod django {}

#[doc = include_str!("docs/operations.md")]
pub mod operations {}

pub use self::{
    config::{RedisConfig, RedisMode},
    format::{MessageSerializer, Serializer},
    layer::{RedisLayer, schemes},
    stats::Stats,
};

#[cfg(feature = "sessions")]
pub use self::sessions::RedisSessionStore;

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
