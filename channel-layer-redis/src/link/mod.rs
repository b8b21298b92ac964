//! The connections to one server. Modules here know no messages.

mod backbone;
mod blocking;
pub(crate) mod client;
mod command_connection;
mod command_queue;
mod link_end;
pub(crate) mod topology;

pub(crate) use self::{
    backbone::{LinkMode, RedisBackbone, Restoration},
    blocking::BlockingConnection,
    command_connection::CommandConnection,
    command_queue::PendingReply,
};
