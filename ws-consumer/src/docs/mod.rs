//! Guides.

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("proxies.md")]
pub mod proxies {}

#[doc = include_str!("transports.md")]
pub mod transports {}
