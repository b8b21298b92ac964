//! The settings that have to be as on the Python side.

use std::{fmt, str::FromStr};

use channel_layer::{CapacityRules, ConfigError, Error};

use super::RedisConfig;
use crate::format::{Keyring, Serializer};

/// How messages travel through Redis, and who else understands them.
///
/// Processes meet only in the same mode: the same Redis and prefix in two modes are two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisMode {
    /// As `channels_redis.core.RedisChannelLayer`: for a Django process that has this backend.
    Core,
    /// This crate's own: for processes in Rust alone.
    #[default]
    Native,
    /// As `channels_redis.pubsub.RedisPubSubChannelLayer`: for a Django process that has this backend.
    PubSub,
}

/// Settings of Django's backends, under their names there.
impl RedisConfig {
    /// Who else is to understand the messages. [`RedisMode::Native`].
    pub fn with_mode(mut self, mode: RedisMode) -> Self {
        self.mode = mode;
        self
    }

    /// `serializer_format`, for the modes that Django understands. [`Serializer::Msgpack`].
    pub fn with_serializer_format(mut self, serializer: Serializer) -> Self {
        self.serializer = serializer;
        self
    }

    /// `symmetric_encryption_keys`, for the modes that Django understands: the first encrypts, each decrypts.
    /// None, and nothing is encrypted.
    pub fn with_symmetric_encryption_keys<K: AsRef<[u8]>>(
        mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        self.keys = Keyring::new(keys);
        self
    }

    /// `random_prefix_length`, for mode `core`: bytes before each message. 12.
    pub fn with_random_prefix_length(mut self, bytes: usize) -> Self {
        self.random_prefix_length = bytes;
        self
    }

    /// `channel_capacity`: capacities for channels by their names.
    pub fn with_channel_capacity(mut self, rules: CapacityRules) -> Self {
        self.hub.layer.channel_capacity = rules;
        self
    }

    /// One more entry of `hosts`: the servers of another address follow those that are there. It has no options but
    /// those of its servers: `db`, `sentinel_username` and `sentinel_password`.
    ///
    /// The order counts: all processes need the same list.
    ///
    /// # Errors
    /// [`Config`](Error::Config) for an address that makes no sense.
    pub fn and_host(mut self, address: &str) -> Result<Self, Error> {
        self.places.extend(super::url::parse_host(address)?);
        Ok(self)
    }
}

impl FromStr for RedisMode {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "core" => Ok(Self::Core),
            "native" => Ok(Self::Native),
            "pubsub" => Ok(Self::PubSub),
            _ => {
                let reason = "it must be core, native or pubsub".to_owned();
                Err(ConfigError::Option { option: "mode".to_owned(), reason })
            }
        }
    }
}

impl fmt::Display for RedisMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Core => "core",
            Self::Native => "native",
            Self::PubSub => "pubsub",
        })
    }
}
