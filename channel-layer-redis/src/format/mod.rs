//! The meaning of bytes and names in Redis. Pure: no module here knows a connection.
//!
//! The payloads here are Django's. Those of mode `native` are the engine's: `channel_layer::backbone::envelope`.

mod fernet;
mod payload;
mod shard;

pub use self::payload::Serializer;
pub(crate) use self::{fernet::Keyring, payload::PayloadFormat, shard::shard_of};
