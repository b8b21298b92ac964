//! The application's end of a connection.

mod blocking;
mod calls;
mod concurrent;
mod concurrent_calls;
mod context;
mod delayed;
mod exchange;
mod groups;
mod handle;
mod jobs;
mod last_text;
mod names;
mod pending_requests;
mod pending_sends;
mod response;
mod timers;
mod unreached;
mod users;
mod websocket;

pub use self::{
    blocking::{BlockingPool, PoolFullError, blocking},
    concurrent::ConcurrentSocket,
    context::Context,
    exchange::Exchange,
    handle::Handle,
    response::{HttpResponse, IntoHeaders, IntoHttpResponse},
    timers::{TimerError, TimerId},
    users::{NoIdentify, UsersExt},
    websocket::Socket,
};
pub(crate) use self::{
    calls::{CallAnswer, CallRef},
    groups::usable,
};
