//! Messages as bytes.

use bytes::Bytes;

use super::{Message, RESERVED_KEY};
use crate::{
    error::{Error, Result},
    value::{DecodeError, Map, Value, ValueError},
};

/// The outcome of [`Message::to_bytes`].
struct Encoded(Result<Bytes, ValueError>);

impl Message {
    /// Encodes the message as a map in MessagePack.
    ///
    /// The bytes are made once and kept with the message, for all its clones: a message to several servers is encoded
    /// once. For a small message that is sent once, [`write_to`](Self::write_to) is faster. Text becomes
    /// `str`, bytes become `bin`, floats have 64 bits, integers and lengths the shortest form, and the entries keep
    /// their order. The bytes of a message are equal in every version of this crate. There are
    /// [test vectors](https://docs.rs/crate/channel-layer/latest/source/vectors/message.json) for other languages.
    ///
    /// ```
    /// use channel_layer::Message;
    ///
    /// let message = Message::new("chat.message").with("n", 7);
    /// let bytes = message.to_bytes()?;
    /// assert_eq!(bytes, b"\x82\xa4type\xacchat.message\xa1n\x07"[..]);
    /// assert_eq!(bytes.len(), message.size());
    /// assert_eq!(Message::from_bytes(&bytes)?, message);
    /// # Ok::<(), channel_layer::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidMessage`](Error::InvalidMessage) if lists and maps are nested deeper than
    /// [`MAX_DEPTH`](crate::value::MAX_DEPTH), or a part is longer than 4 GiB.
    pub fn to_bytes(&self) -> Result<Bytes> {
        self.encoded().cloned()
    }

    /// Appends the bytes that [`to_bytes`](Self::to_bytes) returns, without keeping them.
    ///
    /// # Errors
    /// The errors of [`to_bytes`](Self::to_bytes). The buffer is then unchanged.
    pub fn write_to(&self, bytes: &mut Vec<u8>) -> Result<()> {
        Ok(self.map().write_msgpack(bytes)?)
    }

    /// Appends the message with one more entry at its end, for formats that put an address into the message. The key
    /// may be the reserved one; it must not be in the message yet.
    ///
    /// # Errors
    /// The errors of [`to_bytes`](Self::to_bytes). The buffer is then unchanged.
    pub fn write_with(&self, key: &str, value: &Value, bytes: &mut Vec<u8>) -> Result<()> {
        Ok(self.map().write_msgpack_with(self.encoded()?, (key, value), bytes)?)
    }

    /// Encodes the message in JSON as Python writes it: see [`Map::to_json`]. The text is made once and kept with the
    /// message.
    ///
    /// # Errors
    /// [`InvalidMessage`](Error::InvalidMessage) if the message holds bytes, which JSON cannot, or is nested too
    /// deeply.
    pub fn to_json(&self) -> Result<String> {
        Ok(self.opened_json()?.to_owned() + "}")
    }

    /// Encodes the message in JSON with one more entry at its end, as [`write_with`](Self::write_with) does in
    /// MessagePack.
    ///
    /// # Errors
    /// The errors of [`to_json`](Self::to_json).
    pub fn to_json_with(&self, key: &str, value: &Value) -> Result<String> {
        Ok(self.map().close_json(self.opened_json()?, (key, value))?)
    }

    /// Decodes a message from MessagePack, of any sender in any language.
    ///
    /// Takes memory in proportion to the input only; see [`Map::from_msgpack`]. A `type` is not required.
    ///
    /// ```
    /// use channel_layer::{Error, Message, value::DecodeError};
    ///
    /// let Err(Error::InvalidMessage(source)) = Message::from_bytes(b"\x81\xa4type") else { panic!("cut off") };
    /// assert_eq!(source.downcast_ref(), Some(&DecodeError::Truncated));
    /// ```
    ///
    /// # Errors
    /// [`InvalidMessage`](Error::InvalidMessage) with a [`DecodeError`] as its source.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let map = Map::from_msgpack(bytes)?;
        if map.contains_key(RESERVED_KEY) {
            return Err(DecodeError::ReservedKey.into());
        }
        Ok(Self::share(map))
    }

    fn opened_json(&self) -> Result<&str> {
        struct Opened(Result<String, ValueError>);
        let made = self.derived(|message| Opened(message.map().open_json()));
        made.0.as_deref().map_err(|error| error.clone().into())
    }

    fn encoded(&self) -> Result<&Bytes> {
        let made = self.derived(|message| {
            let mut bytes = Vec::with_capacity(message.size());
            Encoded(message.map().write_msgpack(&mut bytes).map(|()| bytes.into()))
        });
        made.0.as_ref().map_err(|error| error.clone().into())
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::InvalidMessage(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_wire_bytes() {
        let message = Message::new("a").with("b", Value::bytes([1]));
        let first = message.to_bytes().unwrap();
        assert_eq!(message.clone().to_bytes().unwrap().as_ptr(), first.as_ptr());
        let mut appended = b"head".to_vec();
        message.write_to(&mut appended).unwrap();
        assert_eq!(appended, [b"head", &first[..]].concat());
        assert_eq!(Message::from_bytes(&first).unwrap(), message);
    }

    #[test]
    fn adds_an_entry_at_any_count() {
        for count in [0, 1, 15, 16, 17, 65_535, 65_536] {
            let map: Map = (0..count).map(|n| (n.to_string(), Value::from(n))).collect();
            let mut bytes = b"head".to_vec();
            let message = Message::share(map.clone());
            message.write_with(RESERVED_KEY, &"to".into(), &mut bytes).unwrap();
            let read = Map::from_msgpack(bytes.strip_prefix(b"head").unwrap()).unwrap();
            assert_eq!(read.keys().last(), Some(RESERVED_KEY), "{count}");
            let mut expected = map;
            expected.insert(RESERVED_KEY, "to");
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn json_matches_python() {
        let message = Message::new("a").with("x", 1.5);
        for _ in 0..2 {
            assert_eq!(message.to_json().unwrap(), r#"{"type": "a", "x": 1.5}"#);
            let with = message.to_json_with(RESERVED_KEY, &"to".into()).unwrap();
            assert_eq!(with, r#"{"type": "a", "x": 1.5, "__asgi_channel__": "to"}"#);
        }
        let empty = Message::share(Map::new());
        assert_eq!(empty.to_json_with("k", &Value::Null).unwrap(), r#"{"k": null}"#);
        assert_eq!(Message::new("a").to_json().unwrap(), Message::new("a").map().to_json().unwrap());
        let bytes = Message::new("a").with("b", Value::bytes([1]));
        assert!(matches!(bytes.to_json(), Err(Error::InvalidMessage(_))));
    }

    #[test]
    fn nested_reserved_keys_pass() {
        let source = |error| match error {
            Error::InvalidMessage(source) => source.downcast_ref::<DecodeError>().copied(),
            _ => None,
        };
        let mut bytes = Vec::new();
        Message::new("a").write_with(RESERVED_KEY, &"to".into(), &mut bytes).unwrap();
        let error = Message::from_bytes(&bytes).unwrap_err();
        assert_eq!(source(error), Some(DecodeError::ReservedKey));
        let inside = Message::new("a").with("inside", Map::from([(RESERVED_KEY, 1)]));
        assert_eq!(Message::from_bytes(&inside.to_bytes().unwrap()).unwrap(), inside);
    }

    #[test]
    fn rejects_deep_messages() {
        let deep = (0..200).fold(Value::Null, |inside, _| Value::List(vec![inside]));
        let message = Message::new("a").with("deep", deep);
        for _ in 0..2 {
            assert!(matches!(message.to_bytes(), Err(Error::InvalidMessage(_))));
        }
        let mut bytes = b"head".to_vec();
        assert!(matches!(message.write_to(&mut bytes), Err(Error::InvalidMessage(_))));
        assert!(matches!(message.write_with("to", &Value::Null, &mut bytes), Err(Error::InvalidMessage(_))));
        assert_eq!(bytes, b"head");
    }
}
