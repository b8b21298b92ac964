//! The modes of a layer.

use std::{fmt, str::FromStr};

use channel_layer::ConfigError;

/// The format of messages in Redis, which decides who else can read them.
///
/// Processes share a layer only in the same mode: one Redis and prefix in two modes are two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisMode {
    /// Compatible with `channels_redis.core.RedisChannelLayer`, for Django processes with that backend.
    Core,
    /// The native format, for processes in Rust only.
    #[default]
    Native,
    /// Compatible with `channels_redis.pubsub.RedisPubSubChannelLayer`, for Django processes with that backend.
    PubSub,
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
