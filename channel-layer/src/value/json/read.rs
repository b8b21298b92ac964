//! A reader of JSON like Python's `json.loads`: also `NaN`, `Infinity`, `-Infinity`, and halves of surrogate pairs.
//!
//! A half becomes U+FFFD, because text is Unicode. An integer beyond 64 bits is an error, because as a float it would
//! be another number.

use super::super::{DecodeError, Map, Value, depth::Levels};

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads a map, and requires the end after it.
pub(super) fn map(bytes: &[u8]) -> Result<Map> {
    let mut reader = JsonReader { bytes: bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes), at: 0 };
    let value = reader.value(Levels::ALL)?;
    reader.skip_space();
    match (value, reader.rest().len()) {
        (Value::Map(map), 0) => Ok(map),
        (Value::Map(_), len) => Err(DecodeError::TrailingBytes { len }),
        (other, _) => Err(DecodeError::NotAMap { found: other.kind() }),
    }
}

struct JsonReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl JsonReader<'_> {
    fn value(&mut self, levels: Levels) -> Result<Value> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.entries(levels),
            Some(b'[') => self.items(levels),
            Some(b'"') => self.text().map(Value::Str),
            Some(b'-' | b'0'..=b'9') if !self.rest().starts_with(b"-I") => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Value> {
        let words = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::F64(f64::NAN)),
            ("Infinity", Value::F64(f64::INFINITY)),
            ("-Infinity", Value::F64(f64::NEG_INFINITY)),
        ];
        let found = words.into_iter().find(|(word, _)| self.rest().starts_with(word.as_bytes()));
        let (word, value) = found.ok_or(self.fault())?;
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        self.take_if(b'-');
        if !self.take_if(b'0') && !self.take_digits() {
            return Err(self.fault());
        }
        let mut is_float = false;
        if self.peek() == Some(b'.') && self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
            is_float = self.take_digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let _ = self.take_if(b'+') || self.take_if(b'-');
            is_float = self.take_digits();
            if !is_float {
                return Err(self.fault());
            }
        }
        let text = str::from_utf8(&self.bytes[start..self.at]).map_err(|_| self.fault())?;
        if is_float {
            return text.parse().map(Value::F64).map_err(|_| self.fault());
        }
        let small = text.parse::<i64>().map(Value::from);
        small.or_else(|_| text.parse::<u64>().map(Value::from)).map_err(|_| DecodeError::NumberOutOfRange)
    }

    fn items(&mut self, levels: Levels) -> Result<Value> {
        let inside = levels.enter().map_err(|_| DecodeError::TooDeep)?;
        let mut items = Vec::new();
        self.at += 1;
        if self.take_after_space(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(inside)?);
            if self.take_after_space(b']') {
                return Ok(Value::List(items));
            }
            self.require(b',')?;
        }
    }

    fn entries(&mut self, levels: Levels) -> Result<Value> {
        let inside = levels.enter().map_err(|_| DecodeError::TooDeep)?;
        let mut map = Map::new();
        self.at += 1;
        if self.take_after_space(b'}') {
            return Ok(Value::Map(map));
        }
        loop {
            self.skip_space();
            let key = self.text()?;
            self.skip_space();
            self.require(b':')?;
            map.insert(key, self.value(inside)?);
            if self.take_after_space(b'}') {
                return Ok(Value::Map(map));
            }
            self.require(b',')?;
        }
    }

    fn text(&mut self) -> Result<String> {
        self.require(b'"')?;
        let mut text = Vec::new();
        loop {
            let byte = self.next()?;
            match byte {
                b'"' => return String::from_utf8(text).map_err(|_| self.fault()),
                b'\\' => self.escape(&mut text)?,
                0..0x20 => return Err(self.fault()),
                // A surrogate in UTF-8: invalid, but Python writes it with `surrogatepass`, and reads it.
                0xed if matches!(self.rest(), [0xa0..=0xbf, 0x80..=0xbf, ..]) => {
                    self.at += 2;
                    put(&mut text, char::REPLACEMENT_CHARACTER);
                }
                _ => text.push(byte),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<()> {
        let character = match self.next()? {
            escaped @ (b'"' | b'\\' | b'/') => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unit()?,
            _ => return Err(self.fault()),
        };
        put(text, character);
        Ok(())
    }

    /// Reads the digits after `\u`, together with the other half of a surrogate pair.
    fn unit(&mut self) -> Result<char> {
        let first = self.hex()?;
        let behind = self.at;
        if matches!(first, 0xd800..0xdc00) && self.rest().starts_with(b"\\u") {
            self.at += 2;
            let pair = char::decode_utf16([first, self.hex()?]).next();
            if let Some(Ok(character)) = pair {
                return Ok(character);
            }
            self.at = behind; // a separate character
        }
        Ok(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u16> {
        let digits = self.rest().get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok()).ok_or(self.fault())?;
        let unit = u16::from_str_radix(digits, 16).map_err(|_| self.fault())?;
        self.at += 4;
        Ok(unit)
    }

    fn take_after_space(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.take_if(byte)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips digits. Returns whether there were any.
    fn take_digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > start
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn require(&mut self, byte: u8) -> Result<()> {
        if self.take_if(byte) { Ok(()) } else { Err(self.fault()) }
    }

    fn next(&mut self) -> Result<u8> {
        let byte = self.peek().ok_or(self.fault())?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fault(&self) -> DecodeError {
        DecodeError::Syntax { at: self.at }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

fn put(text: &mut Vec<u8>, character: char) {
    text.extend(character.encode_utf8(&mut [0; 4]).bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::super::MAX_DEPTH, *};

    fn only(value: &str) -> Result<Value> {
        map(format!("{{\"v\": {value}}}").as_bytes()).map(|map| map["v"].clone())
    }

    #[test]
    fn reads_what_python_writes() {
        let read = |value: &str| only(value).unwrap();
        assert!(read("NaN").as_f64().unwrap().is_nan());
        assert_eq!(read("[Infinity, -Infinity]"), Value::list([f64::INFINITY, f64::NEG_INFINITY]));
        assert_eq!(read("1E400"), Value::F64(f64::INFINITY));
        assert_eq!(read("18446744073709551615"), Value::from(u64::MAX));
        assert_eq!(read("-9223372036854775808"), Value::from(i64::MIN));
        assert_eq!(read("-0"), Value::from(0));
        assert_eq!(read("-0.0").as_f64().map(f64::to_bits), Some((-0.0_f64).to_bits()));
        let texts = [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\ud83da""#, "\u{fffd}a"),
            (r#""\ude80x""#, "\u{fffd}x"),
            (r#""\ud83d\ud83d\ude80""#, "\u{fffd}🚀"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\uD83D\uDE80\/\u00e9é""#, "🚀/éé"),
        ];
        for (json, text) in texts {
            assert_eq!(read(json), Value::from(text), "{json}");
        }
        assert_eq!(
            map(b"\xef\xbb\xbf {\"a\\ud800\": \"\xed\xa0\xbd\"} ").unwrap()["a\u{fffd}"],
            "\u{fffd}".into()
        );
        assert_eq!(map(br#"{"a": 1, "b": 2, "a": 3}"#).unwrap(), Map::from([("a", 3), ("b", 2)]));
    }

    #[test]
    fn rejects_unsupported_json() {
        for number in ["18446744073709551616", "-9223372036854775809", &"9".repeat(400)] {
            assert_eq!(only(number), Err(DecodeError::NumberOutOfRange), "{number}");
        }
        let deep = |levels: usize| only(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
        assert!(deep(MAX_DEPTH - 1).is_ok());
        assert_eq!(deep(MAX_DEPTH), Err(DecodeError::TooDeep));
        assert_eq!(deep(100_000), Err(DecodeError::TooDeep));
        for broken in [
            "",
            "nan",
            "+1",
            "01",
            "1.",
            ".5",
            "1e",
            "-",
            "--1",
            "1 2",
            "[1,]",
            "[,]",
            "{1: 2}",
            "{\"a\"}",
            "'a'",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"a",
            "\"\n\"",
            "-NaN",
            "Infinit",
            "tru",
            "\"\u{1}\"",
            "{\"a\": 1,}",
        ] {
            assert!(matches!(only(broken), Err(DecodeError::Syntax { .. })), "{broken}");
        }
        for broken in [&b"{\"a\": \"\xff\"}"[..], b"{\"a\": \"\xc3", b""] {
            assert!(matches!(map(broken), Err(DecodeError::Syntax { .. })), "{broken:?}");
        }
        assert_eq!(map(b"[1]"), Err(DecodeError::NotAMap { found: "list" }));
        assert_eq!(map(b"1"), Err(DecodeError::NotAMap { found: "integer" }));
        assert_eq!(map(b"{} x"), Err(DecodeError::TrailingBytes { len: 1 }));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Compares with `serde_json`.
        #[test]
        fn reads_like_serde_json(value in any_json(), pretty in any::<bool>()) {
            let value = serde_json::json!({"v": value});
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let theirs: Map = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(map(text.as_bytes()).unwrap(), theirs);
        }

        #[test]
        fn broken_json_never_panics(text in r#"[\[\]{}",:\\u0-9a-fDINnty.eE+ -]{0,40}"#) {
            let _ = map(text.as_bytes());
            let _ = only(&text);
        }
    }
}
