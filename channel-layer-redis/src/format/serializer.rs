//! The encodings of messages in the modes that Django understands: two built in, and the application's own.

use std::{error::Error as StdError, fmt, str::FromStr, sync::Arc};

use channel_layer::{ConfigError, Error, Map, Message, Result, Value, value::DecodeError};

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
                reason: "it must be json or msgpack; others are set by `with_serializer`".to_owned(),
            }),
        }
    }
}

/// An encoding of messages made by the application, for the modes `core` and `pubsub`: the counterpart of a class in
/// channels_redis' `serializers.registry`. See [`RedisConfig::with_serializer`](crate::RedisConfig::with_serializer).
///
/// The methods correspond to `as_bytes` and `from_bytes` of Python's `BaseMessageSerializer`. Encryption, the random prefix and
/// expiry are applied outside of it, by the same settings as with the built-in encodings.
///
/// Both functions are called in the middle of sends and of the receipt of messages: they must neither block nor panic.
///
/// ```
/// use channel_layer::Map;
/// use channel_layer_redis::{MessageSerializer, RedisConfig, RedisMode};
///
/// /// JSON after a byte with the version of the format.
/// struct Versioned;
///
/// impl MessageSerializer for Versioned {
///     fn encode(&self, message: &Map) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
///         Ok([b"1", message.to_json()?.as_bytes()].concat())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<Map, Box<dyn std::error::Error + Send + Sync>> {
///         Ok(Map::from_json(bytes.strip_prefix(b"1").ok_or("an unknown version")?)?)
///     }
/// }
///
/// let config: RedisConfig = "redis://127.0.0.1/0?mode=core".parse()?;
/// let config = config.with_serializer(Versioned);
/// # Ok::<(), channel_layer::Error>(())
/// ```
pub trait MessageSerializer: Send + Sync + 'static {
    /// Encodes a message. The map contains the entries that channels_redis adds: `__asgi_channel__` in mode `core`.
    ///
    /// # Errors
    /// Values that the encoding cannot represent. The send fails with
    /// [`InvalidMessage`](channel_layer::Error::InvalidMessage).
    fn encode(&self, message: &Map) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>>;

    /// Decodes a message. The bytes come from Redis and may be anything: an implementation bounds the depth of what it
    /// returns, as [`Map::from_json`] and [`Map::from_msgpack`] do (to [`MAX_DEPTH`](channel_layer::value::MAX_DEPTH)).
    ///
    /// # Errors
    /// Bytes that are no message. They are counted in [`Stats::unreadable`](crate::Stats::unreadable), and dropped.
    fn decode(&self, bytes: &[u8]) -> Result<Map, Box<dyn StdError + Send + Sync>>;
}

/// The reason why a message cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error(transparent)]
    BuiltIn(#[from] DecodeError),
    /// The text of the error of the application's serializer.
    #[error("{0}")]
    Custom(String),
}

/// The encoding of a layer.
#[derive(Clone)]
pub(crate) enum MessageCodec {
    BuiltIn(Serializer),
    Custom(Arc<dyn MessageSerializer>),
}

impl MessageCodec {
    /// Encodes a message, with an additional entry at its end if there is one.
    pub(super) fn encode(&self, message: &Message, extra: Option<(&str, &Value)>) -> Result<Vec<u8>> {
        match self {
            Self::BuiltIn(Serializer::Json) => Ok(match extra {
                None => message.to_json()?,
                Some((key, value)) => message.to_json_with(key, value)?,
            }
            .into_bytes()),
            Self::BuiltIn(Serializer::Msgpack) => {
                let mut bytes = Vec::with_capacity(message.size() + 128); // room for some names
                match extra {
                    None => bytes.extend_from_slice(&message.to_bytes()?),
                    Some((key, value)) => message.write_with(key, value, &mut bytes)?,
                }
                Ok(bytes)
            }
            Self::Custom(serializer) => {
                let encoded = match extra {
                    None => serializer.encode(message.map()),
                    Some((key, value)) => {
                        let mut map = message.map().clone();
                        map.insert(key.to_owned(), value.clone());
                        serializer.encode(&map)
                    }
                };
                encoded.map_err(Error::InvalidMessage)
            }
        }
    }

    /// Decodes the map of a message.
    pub(super) fn decode(&self, body: &[u8]) -> Result<Map, MessageError> {
        match self {
            Self::BuiltIn(Serializer::Json) => Ok(Map::from_json(body)?),
            Self::BuiltIn(Serializer::Msgpack) => Ok(Map::from_msgpack(body)?),
            Self::Custom(serializer) => {
                serializer.decode(body).map_err(|error| MessageError::Custom(error.to_string()))
            }
        }
    }
}

impl Default for MessageCodec {
    fn default() -> Self {
        Self::BuiltIn(Serializer::default())
    }
}

impl fmt::Debug for MessageCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(serializer) => serializer.fmt(f),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}
