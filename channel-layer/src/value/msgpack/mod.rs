//! MessagePack, the bytes of messages: text as `str`, bytes as `bin`, floats with 64 bits, all else in its shortest
//! form.

mod read;
mod write;

use super::{DecodeError, Map, Value, ValueError, depth::Levels};

impl Map {
    /// Decodes a map from MessagePack, as written by any language: also in forms that are not the shortest, and with
    /// floats of 32 bits. Of a repeated key, the last value and the first position are kept, as in Python.
    ///
    /// A length in the input is only a claim. It is compared with the number of remaining bytes before memory is
    /// allocated: on a 64-bit machine, decoding allocates at most 80 bytes for each byte of the input. The caller
    /// bounds the input.
    ///
    /// ```
    /// use channel_layer::{Map, value::DecodeError};
    ///
    /// let map = Map::from_msgpack(b"\x81\xa1n\x07")?;
    /// assert_eq!(map["n"].as_i64(), Some(7));
    ///
    /// let four_billion_items = b"\x81\xa1n\xdd\xff\xff\xff\xff";
    /// assert_eq!(Map::from_msgpack(four_billion_items), Err(DecodeError::Truncated));
    /// # Ok::<(), DecodeError>(())
    /// ```
    ///
    /// # Errors
    /// A [`DecodeError`] for input other than a complete map, and for values that no message can hold.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Self, DecodeError> {
        read::map(bytes)
    }

    /// Appends the map in MessagePack. The appended bytes are [`size`](Self::size) in number.
    ///
    /// # Errors
    /// [`TooDeep`](ValueError::TooDeep), [`TooLong`](ValueError::TooLong). The buffer is then unchanged.
    pub fn write_msgpack(&self, bytes: &mut Vec<u8>) -> Result<(), ValueError> {
        write::append(bytes, |out| write::map(out, self, Levels::ALL))
    }

    /// Appends the map in MessagePack with one more entry at its end, for formats that put an address into the message.
    /// `body` is the output of [`write_msgpack`](Self::write_msgpack) for this map.
    pub(crate) fn write_msgpack_with(
        &self,
        body: &[u8],
        (key, value): (&str, &Value),
        bytes: &mut Vec<u8>,
    ) -> Result<(), ValueError> {
        let entries = body.get(write::map_head(self.len())..).unwrap_or_default();
        write::append(bytes, |out| {
            write::map_len(out, self.len() + 1)?;
            out.extend_from_slice(entries);
            write::text(out, key)?;
            write::value(out, value, write::enter(Levels::ALL)?)
        })
    }
}
