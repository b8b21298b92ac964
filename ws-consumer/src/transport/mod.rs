//! Transports, which carry frames to clients and back. A transport holds a [`Wire`](crate::wire::Wire) and knows nothing
//! of groups or routes.
//!
//! Event streams and polls carry sessions, and are in `resume::endpoints`. A new transport needs a variant of
//! [`Transport`](crate::Transport) as well.

pub(crate) mod headers;
mod logged_request;
pub(crate) mod min_rate_body;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod websocket;

pub(crate) use self::logged_request::{EndLog, LoggedRequest};
pub use self::reply::ReplyBody;
