//! The connections to one server. This module knows no messages.

mod backbone;
mod blocking;
pub(crate) mod client;
mod commands;
mod connections;
mod end;
pub(crate) mod topology;

pub(crate) use self::{
    backbone::{LinkMode, RedisBackbone, Restoration},
    blocking::Blocking,
    commands::Queued,
    connections::Connections,
};
