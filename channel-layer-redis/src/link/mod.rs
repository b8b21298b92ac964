//! The connections to one server. This module knows no messages.

pub(crate) mod client;
pub(crate) mod topology;
