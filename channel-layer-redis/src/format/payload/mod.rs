//! The payloads of Django Channels in Redis: `random bytes ++ encrypt(serialise(message))`, the first two if wanted.
//!
//! All of it has to be set as on the Python side: serializer, keys, and the length of the random prefix. Pub/Sub
//! has no prefix; the zset of mode `core` has one, because equal members would be one member.

use std::{str::FromStr, time::Duration};

use channel_layer::{ConfigError, Error, Map, Message, Result, Value, value::DecodeError};

use super::fernet::Keyring;

/// The encoding of messages in the modes that Django understands: `serializer_format` there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Serializer {
    /// JSON, written as Python writes it. It cannot hold bytes.
    Json,
    /// msgpack, the default in both languages.
    #[default]
    Msgpack,
}

impl FromStr for Serializer {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "json" => Ok(Self::Json),
            "msgpack" => Ok(Self::Msgpack),
            _ => Err(ConfigError::Option {
                option: "serializer_format".to_owned(),
                reason: "it must be json or msgpack".to_owned(),
            }),
        }
    }
}

/// Encodes and decodes messages.
#[derive(Clone, Debug)]
pub(crate) struct PayloadFormat {
    serializer: Serializer,
    keys: Keyring,
    random_prefix: usize,
    /// Older tokens are refused; nothing for any age.
    lifetime: Option<Duration>,
}

/// The reason why a payload cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PayloadError {
    #[error("encrypted with another key, too old, or not encrypted")]
    Key,
    #[error("a malformed message: {0}")]
    Message(#[from] DecodeError),
    #[error("shorter than its random bytes")]
    Truncated,
}

impl PayloadFormat {
    /// Payloads without a random prefix. Encrypted ones are accepted at any age.
    pub(crate) fn new(serializer: Serializer, keys: Keyring) -> Self {
        Self { serializer, keys, random_prefix: 0, lifetime: None }
    }

    /// Puts this number of random bytes before each payload.
    pub(crate) fn with_random_prefix(self, bytes: usize) -> Self {
        Self { random_prefix: bytes, ..self }
    }

    /// Refuses encrypted payloads that are older than this.
    pub(crate) fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    /// The bytes of a message, with one more entry at its end if there is one.
    ///
    /// # Errors
    /// [`InvalidMessage`](Error::InvalidMessage) for what the serializer cannot hold.
    pub(crate) fn encode(&self, message: &Message, extra: Option<(&str, &Value)>) -> Result<Vec<u8>> {
        let body = self.body(message, extra)?;
        let body = if self.keys.is_empty() {
            body
        } else {
            self.keys.encrypt(&body).ok_or_else(|| Error::Backend("there is no randomness".into()))?
        };
        let mut bytes = vec![0; self.random_prefix];
        // Not secret: two equal messages must not be one member.
        bytes.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
        bytes.extend(body);
        Ok(bytes)
    }

    /// The map that was encoded.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Map, PayloadError> {
        let body = bytes.get(self.random_prefix..).ok_or(PayloadError::Truncated)?;
        if self.keys.is_empty() {
            return self.parse(body);
        }
        self.parse(&self.keys.decrypt(body, self.lifetime).map_err(|_| PayloadError::Key)?)
    }

    fn parse(&self, body: &[u8]) -> Result<Map, PayloadError> {
        match self.serializer {
            Serializer::Json => Ok(Map::from_json(body)?),
            Serializer::Msgpack => Ok(Map::from_msgpack(body)?),
        }
    }

    fn body(&self, message: &Message, extra: Option<(&str, &Value)>) -> Result<Vec<u8>> {
        match self.serializer {
            Serializer::Json => Ok(match extra {
                None => message.to_json()?,
                Some((key, value)) => message.to_json_with(key, value)?,
            }
            .into_bytes()),
            Serializer::Msgpack => {
                let mut bytes = Vec::with_capacity(message.size() + 128); // and some names
                match extra {
                    None => bytes.extend_from_slice(&message.to_bytes()?),
                    Some((key, value)) => message.write_with(key, value, &mut bytes)?,
                }
                Ok(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests;
