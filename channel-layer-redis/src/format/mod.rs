//! The meaning of bytes and names in Redis. Pure: no module here knows a connection.

mod fernet;
mod payload;
mod shard;

pub use self::payload::Serializer;
pub(crate) use self::{fernet::Keyring, payload::PayloadFormat, shard::shard_of};
