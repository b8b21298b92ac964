//! Longer pages.

#[doc = include_str!("defaults.md")]
pub mod defaults {}
