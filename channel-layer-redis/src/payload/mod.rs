//! The payloads of Django Channels in Redis: `random bytes ++ encrypt(serialise(message))`, the first two if wanted.
//!
//! All of it has to be set as on the Python side: serializer, keys, and the length of the random prefix. Pub/Sub
//! has no prefix; the zset of mode `core` has one, because equal members would be one member.

use std::time::Duration;

use channel_layer::{Error, Map, Message, Result, Value, value::DecodeError};

use crate::{
    config::{RedisConfig, Serializer},
    crypt::Keyring,
};

/// Encodes and decodes messages.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
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

impl Payload {
    /// The payloads of mode `core`: with random bytes, and with an age beyond which encrypted ones are refused.
    pub(crate) fn of_core(config: &RedisConfig) -> Self {
        let lifetime = Duration::from_secs(config.layer.expiry.as_secs().saturating_add(10));
        Self {
            random_prefix: config.random_prefix_length,
            lifetime: Some(lifetime),
            ..Self::of_pubsub(config)
        }
    }

    /// The payloads of mode `pubsub`: without either.
    pub(crate) fn of_pubsub(config: &RedisConfig) -> Self {
        let (serializer, keys) = (config.serializer, config.keys.clone());
        Self { serializer, keys, random_prefix: 0, lifetime: None }
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
