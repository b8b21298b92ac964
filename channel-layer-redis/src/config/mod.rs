//! The configuration of a layer: read from an address, or built by hand.

mod django;
mod host;
mod mode;
mod redis_config;
mod secret;
mod tls;
mod url;

pub(crate) use self::{
    host::{HostConfig, Login, Server, ServerAddress},
    url::SCHEMES,
};
pub use self::{mode::RedisMode, redis_config::RedisConfig};
