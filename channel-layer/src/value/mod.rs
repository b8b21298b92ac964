//! The values in messages.
//!
//! [`Value`] has the types that JSON and msgpack share, and those that only msgpack has: byte strings, and floats
//! distinct from integers. Peers in other languages distinguish `bin`, `str`, integers and floats, so no conversion in
//! this module turns one into another.
//!
//! ```
//! use channel_layer::{Map, Value};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! #[serde(tag = "type")]
//! enum Event<'a> {
//!     #[serde(rename = "chat.message")]
//!     Message { text: &'a str },
//! }
//!
//! let message = Map::from([("type", Value::from("chat.message")), ("text", Value::from("hi"))]);
//! let Event::Message { text } = Event::deserialize(&message)?; // reads by reference: no copy of the text
//! assert_eq!(text, "hi");
//! # Ok::<(), channel_layer::value::ValueError>(())
//! ```
//!
//! # Why not `serde_json::Value`
//!
//! The data model of messages is msgpack's, and `serde_json::Value` covers only JSON's. It has no byte strings: they
//! would become lists of numbers, at several times the size, and a peer in Python would receive a list instead of
//! `bytes`. It rejects the floats that msgpack and Python can send, NaN and the infinities. With its default features
//! it sorts keys, so that the bytes of a message would depend on a feature that any crate of the program can enable.
//! And its nesting, the size in msgpack, and errors that never quote contents would need a wrapper as large as this
//! module.
//!
//! # Depth
//!
//! Lists and maps may be nested [`MAX_DEPTH`] levels deep. Every conversion through serde counts the levels, and fails
//! beyond them (with [`ValueError::TooDeep`] where the error type is this module's), so hostile input cannot exhaust
//! the stack. A value built in code is counted when it is converted. Dropping, cloning or comparing one that is many
//! thousand levels deep may overflow the stack, as with any recursive type.
//!
//! # Human readable
//!
//! The serializer behind [`to_value()`] and the deserializer on `&Value` are human readable in the sense of serde.
//! Types with two forms, such as UUIDs, dates and addresses, are then converted to text, which a peer in any language
//! can read, and not to bytes in the private layout of a crate.
//!
//! # Limitations
//!
//! serde buffers the content of internally tagged and untagged enums before it reads the fields. Its buffer is laxer
//! than this module: inside of these enums a `String` field also accepts UTF-8 bytes, and a byte field also accepts a
//! string.

mod convert;
mod de;
mod decode_error;
mod depth;
mod error;
mod from_value;
mod json;
mod key;
mod map;
mod msgpack;
mod ser;
mod size;
#[cfg(test)]
mod tests;
mod to_value;

pub use self::{
    decode_error::DecodeError,
    depth::MAX_DEPTH,
    error::ValueError,
    from_value::from_value,
    map::{IntoIter, Iter, Map},
    to_value::to_value,
};

/// A value in a message.
///
/// # Integers
///
/// An integer has one canonical form: [`Value::I64`] if it fits, [`Value::U64`] only above [`i64::MAX`].
/// All conversions follow it. Comparison considers only the number, so that `Value::U64(5)` equals `Value::I64(5)`. An
/// integer never equals a float: `1` and `1.0` differ.
///
/// # Bytes
///
/// There is no conversion from `Vec<u8>`, because it could also mean a list: use [`Value::bytes`] or [`Value::list`].
/// JSON has no byte strings: through it they become lists of integers.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// The absence of a value: `null`, `nil`, `None`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer up to [`i64::MAX`].
    I64(i64),
    /// An integer above [`i64::MAX`].
    U64(u64),
    /// A float, also without a fraction. msgpack sends all 64 bits.
    F64(f64),
    /// Text.
    Str(String),
    /// A byte string: msgpack's `bin`.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(Map),
}

impl Value {
    /// A byte string.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// A list of items that convert into values.
    pub fn list(items: impl IntoIterator<Item: Into<Self>>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::I64(value) => Some(*value),
            Self::U64(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The integer, if it is one and not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::I64(value) => u64::try_from(*value).ok(),
            Self::U64(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is one. Integers are accepted too, because JSON clients write `1` for `1.0`. Beyond 2^53 they
    /// are rounded to the nearest float.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::I64(value) => Some(*value as f64),
            Self::U64(value) => Some(*value as f64),
            Self::F64(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is text. Byte strings are not text, even if they are valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is a byte string. Text is not one.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The kind of the value for error messages, such as `"string"` or `"map"`. Never the content.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::I64(_) | Self::U64(_) => "integer",
            Self::F64(_) => "float",
            Self::Str(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// The size of the value in msgpack, in bytes, for the bounds of queues. The size in other formats is similar.
    /// Visits the complete value.
    pub fn size(&self) -> usize {
        size::of_value(self)
    }
}

/// Compares contents. A NaN differs from itself, as in Rust and Python.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::I64(a), Self::I64(b)) => a == b,
            (Self::U64(a), Self::U64(b)) => a == b,
            (Self::I64(a), Self::U64(b)) | (Self::U64(b), Self::I64(a)) => u64::try_from(*a) == Ok(*b),
            (Self::F64(a), Self::F64(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}
