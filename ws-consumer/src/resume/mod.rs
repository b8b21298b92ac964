//! Resumable sessions: connections of consumers that outlive what carries them. See
//! [the protocol](crate::docs::transports).
//!
//! A session is a task that runs the application behind its `Wire`, and keeps sent frames in a log, by number, until the
//! client has them. Carriers (a WebSocket, an event stream, a chain of polls) take frames from the log and hand in the
//! client's; one carrier at a time, the newest.
//!
//! | part | files |
//! |---|---|
//! | one session | `session`, its carriers' side `attachment`, what its lock guards `state`, `log`, `inbox`, `lifetime`; its `task` |
//! | waiting for a client | `waiting` (the deadlines), bounded by `registry` |
//! | all sessions | `service`, `registry` (numbers and bytes), `credentials`, `admission` (guards are asked again) |
//! | the protocol | `protocol`, `ndjson`, `token`, `request`, `body`, `exchange` (a batch in, a batch out) |
//! | carriers | `endpoints`, `carrier` (those that stream), `forward` (sessions of other processes) |

mod admission;
mod attachment;
mod body;
mod carrier;
mod config;
mod credentials;
mod endpoints;
mod exchange;
mod forward;
mod inbox;
mod lifetime;
mod log;
mod ndjson;
mod protocol;
mod registry;
mod request;
mod service;
mod session;
mod state;
mod task;
mod token;
mod waiting;

pub use self::config::{LostSession, Resume};
pub(crate) use self::{
    carrier::CARRIER,
    endpoints::{serve, websocket::carry, websocket::is_offered},
    request::{is_session_request, scope},
    service::{SessionParts, SessionService},
};
#[cfg(feature = "testing")]
pub(crate) use self::{
    endpoints::websocket::{MARK, PROTOCOL, RESUME},
    protocol::{ControlObject, Gap},
};
