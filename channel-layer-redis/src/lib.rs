//! Redis backends for [`channel_layer`], wire-compatible with Django Channels' channels_redis.

mod client;
mod codec;
mod config;
mod crypt;
mod error;
mod keys;
mod native;
mod payload;
mod ring;
mod schemes;
mod stats;
mod supervisor;
mod topology;

pub use self::{config::{RedisConfig, RedisMode, Serializer}, native::RedisLayer, schemes::schemes, stats::Stats};
