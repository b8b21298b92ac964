//! Formats of values in frames.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Result},
    frame::Frame,
};

/// A format of values in frames. [`Encode`] and [`Decode`] name the types that it holds.
///
/// A format of serde, which holds every type that serde knows, is a [`SerdeCodec`], such as [`Json`]. Any other format
/// implements this trait, and the others type by type:
///
/// ```
/// use ws_consumer::{Codec, Decode, Encode, Error, Frame, Result};
///
/// #[derive(Debug, PartialEq)]
/// struct Reading { sensor: u16, celsius: f32 }
///
/// /// Six bytes: the sensor's number and the temperature, in network order.
/// enum Layout {}
///
/// impl Codec for Layout {}
///
/// impl Decode<Reading> for Layout {
///     fn decode(frame: &Frame) -> Result<Reading> {
///         let bytes = frame.bytes()?.as_ref();
///         let Ok([a, b, celsius @ ..]) = <[u8; 6]>::try_from(bytes) else {
///             return Err(Error::bad_input(format!("a reading has 6 bytes, not {}", bytes.len())));
///         };
///         Ok(Reading { sensor: u16::from_be_bytes([a, b]), celsius: f32::from_be_bytes(celsius) })
///     }
/// }
///
/// impl Encode<Reading> for Layout {
///     fn encode(reading: &Reading) -> Result<Frame> {
///         let Reading { sensor, celsius } = reading;
///         Ok([&sensor.to_be_bytes()[..], &celsius.to_be_bytes()].concat().into())
///     }
/// }
///
/// let reading = Reading { sensor: 7, celsius: 21.5 };
/// assert_eq!(Layout::decode(&Layout::encode(&reading)?)?, reading);
/// assert!(Layout::decode(&Frame::from(vec![0; 7])).unwrap_err().is_bad_input());
/// # Ok::<(), Error>(())
/// ```
pub trait Codec: Send + Sync + 'static {
    /// Returns the frame that tells the client of an error after which the connection lives. By default there is none, and
    /// the error ends the connection: with 1007 for bad input, with 1013 for an outage of the channel layer.
    ///
    /// A codec of serde encodes [`Error::answer`].
    fn encode_error(error: &Error) -> Option<Frame> {
        let _ = error;
        None
    }
}

/// A [`Codec`] that can encode values of type `T`.
#[diagnostic::on_unimplemented(
    message = "the codec `{Self}` cannot encode `{T}`",
    note = "codecs of serde, such as `Json`, encode every type that implements `serde::Serialize`",
    note = "any other codec implements `Encode` for each type"
)]
pub trait Encode<T: ?Sized>: Codec {
    /// Encodes a value as a frame.
    ///
    /// # Errors
    /// The format cannot hold the value.
    fn encode(value: &T) -> Result<Frame>;
}

/// A [`Codec`] that can decode values of type `T`.
#[diagnostic::on_unimplemented(
    message = "the codec `{Self}` cannot decode `{T}`",
    note = "codecs of serde, such as `Json`, decode every type that implements `serde::Deserialize` and borrows nothing",
    note = "any other codec implements `Decode` for each type"
)]
pub trait Decode<T>: Codec {
    /// Decodes a frame.
    ///
    /// # Errors
    /// [`BadInput`](crate::Error::BadInput) if the frame holds no such value.
    fn decode(frame: &Frame) -> Result<T>;
}

/// A format of serde. It is a [`Codec`] that encodes and decodes all types that serde knows.
///
/// ```
/// use ws_consumer::{Frame, Json, SerdeCodec};
///
/// assert_eq!(Json::to_frame(&[1, 2])?, Frame::from("[1,2]"));
/// assert!(Json::from_frame::<Vec<u8>>(&Frame::from("[1,")).unwrap_err().is_bad_input());
/// # Ok::<(), ws_consumer::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no codec of serde",
    note = "`Json` and `MessagePack` are; a codec that is none implements `Encode` and `Decode` for each type, and has no \
            requests"
)]
pub trait SerdeCodec: Send + Sync + 'static {
    /// Encodes a value as a frame.
    ///
    /// # Errors
    /// The format cannot hold the value.
    fn to_frame<T: Serialize + ?Sized>(value: &T) -> Result<Frame>;

    /// Decodes a frame.
    ///
    /// # Errors
    /// [`BadInput`](crate::Error::BadInput) if the frame holds no such value.
    fn from_frame<T: DeserializeOwned>(frame: &Frame) -> Result<T>;
}

impl<C: SerdeCodec> Codec for C {
    fn encode_error(error: &Error) -> Option<Frame> {
        error.answer().and_then(|answer| C::to_frame(&answer).ok())
    }
}

impl<C: SerdeCodec, T: Serialize + ?Sized> Encode<T> for C {
    fn encode(value: &T) -> Result<Frame> {
        C::to_frame(value)
    }
}

impl<C: SerdeCodec, T: DeserializeOwned> Decode<T> for C {
    fn decode(frame: &Frame) -> Result<T> {
        C::from_frame(frame)
    }
}

/// JSON in text frames.
#[derive(Clone, Copy, Debug)]
pub enum Json {}

impl SerdeCodec for Json {
    fn to_frame<T: Serialize + ?Sized>(value: &T) -> Result<Frame> {
        Frame::from_json(value)
    }

    fn from_frame<T: DeserializeOwned>(frame: &Frame) -> Result<T> {
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
impl SerdeCodec for MessagePack {
    fn to_frame<T: Serialize + ?Sized>(value: &T) -> Result<Frame> {
        Ok(rmp_serde::to_vec_named(value)?.into())
    }

    fn from_frame<T: DeserializeOwned>(frame: &Frame) -> Result<T> {
        let mut reader = rmp_serde::Deserializer::from_read_ref(&frame.bytes()?[..]);
        reader.set_max_depth(MAX_DEPTH);
        let value = T::deserialize(&mut reader).map_err(Error::bad_input)?;
        match <() as serde::Deserialize>::deserialize(&mut reader) {
            // There is no marker of a further value.
            Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
            _ => Err(Error::bad_input("bytes after the value")),
        }
    }
}
