//! The behaviour of the server, from the outside. One program, so that it links once.
//!
//! Tests that read the process's memory, descriptors or logs are separate programs.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "auth")]
mod auth;
mod bodies;
mod bounds;
mod calls;
mod carriers;
mod classic;
mod concurrent;
mod concurrent_calls;
mod consumers;
#[cfg(feature = "auth")]
mod cookies;
#[cfg(feature = "msgpack")]
mod decoding;
mod drain;
mod frames;
mod guards;
mod handshakes;
mod http2;
#[cfg(feature = "auth")]
mod identified;
#[cfg(all(feature = "auth", feature = "axum"))]
mod in_axum;
mod lanes;
mod limits;
#[cfg(feature = "auth")]
mod logins;
mod logout;
mod mistakes;
mod mounts;
mod multiplexer;
mod options;
mod outages;
mod outcomes;
#[cfg(feature = "axum")]
mod peers;
mod pipelining;
mod proxies;
mod rendered;
mod requests;
mod responses;
mod resume;
mod robustness;
mod routing;
mod selections;
mod session_lifetime;
mod session_memory;
#[cfg(feature = "sessions")]
mod session_saving;
mod subprotocols;
mod test_clients;
mod test_kit;
mod timers;
mod transports;
mod typed;
mod users;
mod workers;
