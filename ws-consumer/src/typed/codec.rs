//! Formats of values in frames.

use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "msgpack")]
use crate::error::Error;
use crate::{error::Result, frame::Frame};

/// Converts values to frames and back.
///
/// ```
/// use ws_consumer::{Codec, Frame, Json};
///
/// assert_eq!(Json::encode(&[1, 2])?, Frame::from("[1,2]"));
/// assert!(Json::decode::<Vec<u8>>(&Frame::from("[1,")).unwrap_err().is_bad_input());
/// # Ok::<(), ws_consumer::Error>(())
/// ```
pub trait Codec: Send + Sync + 'static {
    /// Encodes a value as a frame.
    ///
    /// # Errors
    /// The format cannot hold the value.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Frame>;

    /// Decodes a frame.
    ///
    /// # Errors
    /// [`BadInput`](crate::Error::BadInput) if the frame holds no such value.
    fn decode<T: DeserializeOwned>(frame: &Frame) -> Result<T>;
}

/// JSON in text frames.
#[derive(Clone, Copy, Debug)]
pub enum Json {}

impl Codec for Json {
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Frame> {
        Frame::from_json(value)
    }

    fn decode<T: DeserializeOwned>(frame: &Frame) -> Result<T> {
        frame.json()
    }
}

/// The nesting limit, equal to that of JSON. The default of `rmp_serde` is 1,024 levels, for which a thread's stack may be
/// too small: one frame would end the process.
#[cfg(feature = "msgpack")]
const MAX_DEPTH: usize = 128;

/// MessagePack in binary frames, up to 128 levels deep; structures are maps (feature `msgpack`).
#[cfg(feature = "msgpack")]
#[derive(Clone, Copy, Debug)]
pub enum MessagePack {}

#[cfg(feature = "msgpack")]
impl Codec for MessagePack {
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Frame> {
        Ok(rmp_serde::to_vec_named(value)?.into())
    }

    fn decode<T: DeserializeOwned>(frame: &Frame) -> Result<T> {
        match frame {
            Frame::Binary(bytes) => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
                reader.set_max_depth(MAX_DEPTH);
                T::deserialize(&mut reader).map_err(Error::bad_input)
            }
            Frame::Text(_) => Err(Error::bad_input("a binary frame is expected")),
        }
    }
}
