//! The connections to one server. This module knows no messages.

mod backbone;
pub(crate) mod client;
mod commands;
mod connections;
mod end;
pub(crate) mod topology;

pub(crate) use self::{
    backbone::{LinkMode, RedisBackbone, Restoration},
    commands::Queued,
    connections::Connections,
};
