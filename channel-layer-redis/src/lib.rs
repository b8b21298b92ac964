#![doc = include_str!("docs/crate.md")]

mod config;
mod crypt;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod layer;
mod link;
mod modes;
mod payload;
mod ring;
mod schemes;
mod stats;

#[doc = include_str!("docs/django.md")]
pub mod django {}

#[doc = include_str!("docs/operations.md")]
pub mod operations {}

pub use self::{
    config::{RedisConfig, RedisMode, Serializer},
    layer::RedisLayer,
    schemes::schemes,
    stats::Stats,
};

/// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
