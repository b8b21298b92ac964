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
mod model;
mod msgpack;
mod ser;
#[cfg(test)]
mod tests;
mod to_value;

pub use self::{
    decode_error::DecodeError,
    depth::MAX_DEPTH,
    error::ValueError,
    from_value::from_value,
    model::{IntoIter, Iter, Map, Value},
    to_value::to_value,
};
