//! Consumers of values instead of frames.

mod adapter;
mod broadcast;
mod codec;
mod consumer;
mod registration;
mod requests;
mod shared_outputs;

#[cfg(feature = "msgpack")]
pub use self::codec::MessagePack;
pub(crate) use self::registration::ServedBy;
pub use self::{
    broadcast::BroadcastExt,
    codec::{Codec, Decode, Encode, Json, SerdeCodec},
    consumer::{TypedConsumer, TypedSocket},
    registration::{typed, typed_requests},
    requests::TypedRequests,
};
