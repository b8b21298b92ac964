//! The errors of decoding a message.

use super::MAX_DEPTH;

/// An error of decoding a map from MessagePack or JSON.
///
/// The text names kinds, never contents, so it can be logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A value of an extension type, such as a timestamp. Messages have none.
    #[error("extension type {kind} is not supported")]
    Extension {
        /// The number of the extension type. MessagePack itself takes the negative ones.
        kind: i8,
    },
    /// A text that is not UTF-8.
    #[error("string is not UTF-8")]
    InvalidUtf8,
    /// A key that is not text.
    #[error("map keys must be strings, found {found}")]
    KeyNotAString {
        /// The kind of the key, as in [`Value::kind`](crate::Value::kind).
        found: &'static str,
    },
    /// A single value, or a list.
    #[error("a message must be a map, found {found}")]
    NotAMap {
        /// The kind of the value, as in [`Value::kind`](crate::Value::kind).
        found: &'static str,
    },
    /// An integer beyond 64 bits, in JSON. As a float it would be another number.
    #[error("integer does not fit in 64 bits")]
    NumberOutOfRange,
    /// The byte 0xc1, which MessagePack never uses.
    #[error("byte 0xc1 begins no value")]
    Reserved,
    /// The map has the key [`RESERVED_KEY`](crate::RESERVED_KEY), which no message may use.
    #[error("reserved key")]
    ReservedKey,
    /// Text that is not JSON.
    #[error("not JSON at byte {at}")]
    Syntax {
        /// The offset of the fault, in bytes.
        at: usize,
    },
    /// Lists and maps are nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Bytes after the end of the map.
    #[error("{len} bytes after the end")]
    TrailingBytes {
        /// The number of these bytes.
        len: usize,
    },
    /// The end of the input before the end of the map, or a length beyond the rest of the input.
    #[error("input is truncated, or a length is beyond its end")]
    Truncated,
}
