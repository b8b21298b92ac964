//! The meaning of bytes and names in Redis. Pure: no module here knows a connection.
//!
//! The payloads here are Django's. Those of mode `native` are the engine's: `channel_layer::backbone::envelope`.

mod fernet;
mod payload;
mod serializer;
mod shard;

pub use self::serializer::{MessageSerializer, Serializer};
pub(crate) use self::{fernet::Keyring, payload::PayloadFormat, serializer::MessageCodec, shard::shard_of};
