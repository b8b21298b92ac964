//! Redis backends for [`channel_layer`], wire-compatible with Django Channels' channels_redis.

mod client;
mod codec;
mod config;
mod core;
mod crypt;
mod error;
mod keys;
mod layer;
mod native;
mod own;
mod payload;
mod pubsub;
mod ring;
mod schemes;
mod shared;
mod stats;
mod supervisor;
mod topology;

pub use self::{
    config::{RedisConfig, RedisMode, Serializer},
    layer::RedisLayer,
    schemes::schemes,
    stats::Stats,
};
