//! Pages to read: from Django Channels to here, and how to write a backend (with the feature `conformance`).

#[doc = include_str!("from_django.md")]
pub mod from_django {}

#[cfg(feature = "conformance")]
#[doc = include_str!("write_your_own.md")]
pub mod write_your_own {}
