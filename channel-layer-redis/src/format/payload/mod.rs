//! The payloads of Django Channels in Redis: `random prefix ++ encrypt(serialise(message))`, with prefix and encryption
//! optional.
//!
//! Serializer, keys, and the length of the random prefix must equal those of the Python side. Payloads of Pub/Sub have no
//! prefix. Those of mode `core` have one, because equal members of a sorted set would be one member.

use std::time::Duration;

use channel_layer::{Error, Map, Message, Result, Value};

use super::{
    fernet::Keyring,
    serializer::{MessageCodec, MessageError},
};

/// The encoding of messages in payloads.
#[derive(Clone, Debug)]
pub(crate) struct PayloadFormat {
    codec: MessageCodec,
    keys: Keyring,
    random_prefix: usize,
    /// The age beyond which tokens are refused. `None` for no limit.
    lifetime: Option<Duration>,
}

/// The reason for an unreadable payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PayloadError {
    #[error("encrypted with another key, too old, or not encrypted")]
    Key,
    #[error("a malformed message: {0}")]
    Message(#[from] MessageError),
    #[error("shorter than its random bytes")]
    Truncated,
}

impl PayloadFormat {
    /// Payloads without a random prefix. Encrypted ones are accepted at any age.
    pub(crate) fn new(codec: MessageCodec, keys: Keyring) -> Self {
        Self { codec, keys, random_prefix: 0, lifetime: None }
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
        let body = self.codec.encode(message, extra)?;
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
            return Ok(self.codec.decode(body)?);
        }
        let plain = self.keys.decrypt(body, self.lifetime).map_err(|_| PayloadError::Key)?;
        Ok(self.codec.decode(&plain)?)
    }
}

#[cfg(test)]
mod tests;
