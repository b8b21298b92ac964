//! The application's end of a connection.

mod calls;
mod context;
mod exchange;
mod groups;
mod handle;
mod jobs;
mod last_text;
mod names;
mod pending_sends;
mod unreached;
mod users;
mod websocket;

pub(crate) use self::{
    calls::{CallAnswer, CallRef},
    groups::usable,
};
pub use self::{
    context::Context,
    exchange::Exchange,
    handle::Handle,
    jobs::blocking,
    users::{NoIdentify, UsersExt},
    websocket::Socket,
};
