//! JSON in Python's dialect.

mod read;
mod write;

use super::{DecodeError, Map, Value, ValueError, depth::Levels};

impl Map {
    /// Decodes a map from JSON as Python's `json.loads` reads it: also `NaN`, `Infinity`, `-Infinity`, a byte order
    /// mark and halves of surrogate pairs, which become U+FFFD. Of a repeated key, the last value and the first
    /// position are kept.
    ///
    /// JSON has no bytes. Bytes that other software has written are read as text or a list.
    ///
    /// ```
    /// use channel_layer::{Map, value::DecodeError};
    ///
    /// let map = Map::from_json(br#"{"n": 7, "x": NaN, "half": "\ud83d"}"#)?;
    /// assert_eq!(map["half"].as_str(), Some("\u{fffd}"));
    /// assert_eq!(Map::from_json(b"{\"n\": 18446744073709551616}"), Err(DecodeError::NumberOutOfRange));
    /// # Ok::<(), DecodeError>(())
    /// ```
    ///
    /// # Errors
    /// A [`DecodeError`] for input other than a map, and for values that no message can hold.
    pub fn from_json(text: &[u8]) -> Result<Self, DecodeError> {
        read::map(text)
    }

    /// Encodes the map in JSON, byte for byte as Python's `json.dumps`: a space after `,` and `:`, escapes for all
    /// characters except printable ASCII, the shortest digits of floats.
    ///
    /// ```
    /// use channel_layer::Map;
    ///
    /// let map = Map::from([("text", "é")]);
    /// assert_eq!(map.to_json()?, r#"{"text": "\u00e9"}"#);
    /// # Ok::<(), channel_layer::ValueError>(())
    /// ```
    ///
    /// # Errors
    /// [`BytesInJson`](ValueError::BytesInJson), [`TooDeep`](ValueError::TooDeep).
    pub fn to_json(&self) -> Result<String, ValueError> {
        let mut text = self.open_json()?;
        text.push('}');
        Ok(text)
    }

    /// Encodes the map in JSON without its closing brace, for [`close_json`](Self::close_json).
    pub(crate) fn open_json(&self) -> Result<String, ValueError> {
        write::open_map(self)
    }

    /// Completes the output of [`open_json`](Self::open_json), with one more entry at its end.
    pub(crate) fn close_json(&self, open: &str, (key, value): (&str, &Value)) -> Result<String, ValueError> {
        let mut text = String::with_capacity(open.len() + key.len() + 2 * value.size() + 8);
        text.push_str(open);
        write::put_entry(&mut text, self.is_empty(), key, value, Levels::ALL.enter()?)?;
        text.push('}');
        Ok(text)
    }
}
