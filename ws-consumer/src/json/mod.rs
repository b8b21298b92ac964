//! Consumers of values instead of frames, and several of them on one socket.

mod codec;
mod multiplexer;
mod typed;

#[cfg(feature = "msgpack")]
pub use self::codec::MessagePack;
pub use self::{
    codec::{Codec, Json},
    multiplexer::Multiplexer,
    typed::{TypedConsumer, TypedSocket, typed},
};
