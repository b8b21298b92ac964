//! Consumers of values instead of frames.

mod adapter;
mod broadcast;
mod codec;
mod consumer;
mod requests;
mod shared_outputs;

#[cfg(feature = "msgpack")]
pub use self::codec::MessagePack;
pub use self::{
    adapter::typed,
    broadcast::BroadcastExt,
    codec::{Codec, Decode, Encode, Json, SerdeCodec},
    consumer::{TypedConsumer, TypedSocket},
    requests::{TypedRequests, typed_requests},
};
