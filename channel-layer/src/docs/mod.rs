//! Guides: the counterparts of Django Channels' names, and how to write a backend (with the feature `conformance`).

#[doc = include_str!("from_django.md")]
pub mod from_django {}

#[cfg(feature = "conformance")]
#[doc = include_str!("layer_by_hand.md")]
pub mod layer_by_hand {}

#[cfg(feature = "conformance")]
#[doc = include_str!("write_your_own.md")]
pub mod write_your_own {}
