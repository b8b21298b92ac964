//! Guarantees that are independent of the mode.

mod closing;
mod deadlines;
mod hosts;
mod order;
mod subscriptions;
#[path = "../support/mod.rs"]
mod support;

use channel_layer_redis::RedisLayer;
use support::{layer, server::Server};

/// Two processes on one server, with a prefix for the mode.
async fn pair(server: &Server, mode: &str, options: &str) -> (RedisLayer, RedisLayer) {
    let address = format!("{}?mode={mode}&prefix={mode}&{options}", server.address());
    (layer(&address).await, layer(&address).await)
}
