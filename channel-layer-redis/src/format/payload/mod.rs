//! The payloads of Django Channels in Redis: `random prefix ++ encrypt(serialise(message))`, with prefix and encryption
//! optional.
//!
//! Serializer, keys, and the length of the random prefix must equal those of the Python side. Payloads of Pub/Sub have no
//! prefix. Those of mode `core` have one, because equal members of a sorted set would be one member.

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

/// The encoding of messages in payloads.
#[derive(Clone, Debug)]
pub(crate) struct PayloadFormat {
    serializer: Serializer,
    keys: Keyring,
    random_prefix: usize,
    /// The age beyond which tokens are refused. `None` for no limit.
    lifetime: Option<Duration>,
}

/// The reason for an unreadable payload.
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

    /// Encodes a message, with an additional entry at its end if there is one.
    ///
    /// # Errors
    /// [`InvalidMessage`](Error::InvalidMessage) for values that the serializer cannot represent.
    pub(crate) fn encode(&self, message: &Message, extra: Option<(&str, &Value)>) -> Result<Vec<u8>> {
        let body = self.body(message, extra)?;
        let body = if self.keys.is_empty() {
            body
        } else {
            self.keys
                .encrypt(&body)
                .ok_or_else(|| Error::Backend("the operating system has no randomness".into()))?
        };
        let mut bytes = vec![0; self.random_prefix];
        // Not secret: the bytes only make equal messages differ.
        bytes.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
        bytes.extend(body);
        Ok(bytes)
    }

    /// Decodes the map of a message.
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
                let mut bytes = Vec::with_capacity(message.size() + 128); // room for some names
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
