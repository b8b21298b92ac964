//! Names made of any text, and names that cannot be guessed.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{ChannelName, GroupName, MAX_NAME_LENGTH, check_characters};
use crate::error::{BoxError, Error, NameError, Result};

/// Letters of a random name: 96 bits.
const RANDOM_LETTERS: usize = 16;

/// Letters of a digest: 192 bits.
const DIGEST_LETTERS: usize = 32;

/// The alphabet of base64url: every letter is one that names may hold.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl GroupName {
    /// Makes a valid name of any text, such as a title in any script, a path or an address.
    ///
    /// With the same prefix, different texts have different names, and a text always has the same name. ASCII letters,
    /// digits, `-` and `_` are kept. Each other byte becomes `.` and two hexadecimal digits. A name that would be too
    /// long ends in `..` and a digest of the text (192 bits of SHA-256).
    ///
    /// ```
    /// use channel_layer::GroupName;
    ///
    /// assert_eq!(GroupName::encode("chat_", "lobby-1")?.as_str(), "chat_lobby-1");
    /// assert_eq!(GroupName::encode("chat_", "a b")?.as_str(), "chat_a.20b");
    /// assert_eq!(GroupName::encode("chat_", "汉字")?.as_str(), "chat_.e6.b1.89.e5.ad.97");
    /// assert_eq!(GroupName::encode("chat_", &"long".repeat(99))?.as_str().len(), "chat_..".len() + 32);
    /// # Ok::<(), channel_layer::NameError>(())
    /// ```
    ///
    /// # Errors
    /// A prefix with invalid characters, or longer than 65 bytes. The text never causes an error.
    pub fn encode(prefix: &str, text: &str) -> Result<Self, NameError> {
        check_characters(prefix, 0)?;
        let longest = MAX_NAME_LENGTH - 1 - ("..".len() + DIGEST_LETTERS);
        if prefix.len() > longest {
            return Err(NameError::TooLong { len: prefix.len() + MAX_NAME_LENGTH - longest });
        }
        let escaped = escape(text, MAX_NAME_LENGTH - 1 - prefix.len());
        let rest = escaped.unwrap_or_else(|| format!("..{}", letters(&Sha256::digest(text.as_bytes()))));
        Self::new(format!("{prefix}{rest}"))
    }
}

impl ChannelName {
    /// A new name below `head`, local to one process: `head!` and 16 letters from the operating system's
    /// source of randomness (96 bits), so that the name cannot be guessed.
    ///
    /// # Errors
    /// [`InvalidName`](Error::InvalidName) when `head` is no valid start of a name, or too long;
    /// [`Backend`](Error::Backend) when the operating system has no randomness.
    pub fn random(head: &str) -> Result<Self> {
        let mut bytes = [0; RANDOM_LETTERS];
        getrandom::fill(&mut bytes).map_err(|error| Error::Backend(BoxError::from(error.to_string())))?;
        Ok(Self::new(format!("{head}!{}", letters(&bytes)))?)
    }
}

/// Escapes a text. `None` if the result is longer than `longest` bytes. A `.` always begins an escape, so the name can
/// be decoded, and no other text gives the name of the empty text or of a digest.
fn escape(text: &str, longest: usize) -> Option<String> {
    if text.is_empty() {
        return Some(".".to_owned());
    }
    let mut escaped = String::with_capacity(longest.min(text.len()));
    for byte in text.bytes() {
        match byte {
            b'-' | b'_' => escaped.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => write!(escaped, ".{byte:02x}").expect("a String takes everything"),
        }
        if escaped.len() > longest {
            return None;
        }
    }
    Some(escaped)
}

/// A letter for each byte: six of its bits.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn random_names_are_unguessable() {
        let names: HashSet<_> = (0..1000).map(|_| ChannelName::random("specific.memory").unwrap()).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| name.as_str().len() == "specific.memory!".len() + RANDOM_LETTERS));
        assert!(matches!(ChannelName::random("two!marks"), Err(Error::InvalidName(_))));
    }

    #[test]
    fn similar_texts_differ() {
        let texts = ["", ".", "..", ".2e", "a", "A", "a.", "a b", "a.20b", "é", "e\u{301}", "\0", "!"];
        let long = ["x".repeat(98), "x".repeat(99), "x".repeat(100), "x".repeat(101), "é".repeat(50)];
        let names: HashSet<_> = texts
            .iter()
            .copied()
            .chain(long.iter().map(String::as_str))
            .map(|text| GroupName::encode("", text).unwrap())
            .collect();
        assert_eq!(names.len(), texts.len() + long.len());
    }

    #[test]
    fn digests_are_stable() {
        let name = GroupName::encode("chat_", &"long".repeat(99)).unwrap();
        assert_eq!(name.as_str(), "chat_..gVRCepxK3hN8C2rCB4fjnUbZ3VgvzRJE");
    }

    #[test]
    fn rejects_bad_prefixes() {
        assert!(GroupName::encode(&"p".repeat(65), &"x".repeat(1000)).is_ok());
        assert!(matches!(GroupName::encode(&"p".repeat(66), "x"), Err(NameError::TooLong { .. })));
        assert_eq!(GroupName::encode("a b", "x"), Err(NameError::Character { at: 1 }));
    }

    /// Decodes a name that is not a digest.
    fn decode(name: &str) -> Option<String> {
        if name == "." || name.starts_with("..") {
            return (name == ".").then(String::new);
        }
        let (mut bytes, mut rest) = (Vec::new(), name);
        while let Some(first) = rest.bytes().next() {
            let step = if first == b'.' { 3 } else { 1 };
            bytes.push(if step == 1 { first } else { u8::from_str_radix(&rest[1..3], 16).unwrap() });
            rest = &rest[step..];
        }
        Some(String::from_utf8(bytes).unwrap())
    }

    proptest! {
        #[test]
        fn names_decode_to_their_text(text in ".{0,60}", prefix in "[a-z._-]{0,65}") {
            let name = GroupName::encode(&prefix, &text).unwrap();
            let rest = &name.as_str()[prefix.len()..];
            match decode(rest) {
                Some(decoded) => prop_assert_eq!(decoded, text),
                None => prop_assert!(rest.len() == 34 && text.len() * 3 + prefix.len() > 99),
            }
        }

        #[test]
        fn long_texts_differ(a in ".{100,120}", b in ".{100,120}") {
            let (one, two) = (GroupName::encode("", &a).unwrap(), GroupName::encode("", &b).unwrap());
            prop_assert_eq!(a == b, one == two);
        }

        #[test]
        fn plain_text_is_unescaped(text in "[A-Za-z0-9_-]{1,99}") {
            let name = GroupName::encode("", &text).unwrap();
            prop_assert_eq!(name.as_str(), text);
        }
    }
}
