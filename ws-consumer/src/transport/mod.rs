//! Transports, which carry frames to clients and back. A transport holds a [`Wire`](crate::wire::Wire) and knows nothing
//! of groups or routes.

pub(crate) mod headers;
pub(crate) mod min_rate_body;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod websocket;

pub use self::reply::ReplyBody;
