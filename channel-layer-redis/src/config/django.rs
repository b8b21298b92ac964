//! Settings that must equal those of the Python side.

use std::sync::Arc;

use channel_layer::CapacityRules;

use super::{mode::RedisMode, redis_config::RedisConfig};
use crate::format::{Keyring, MessageCodec, MessageSerializer, Serializer};

/// Settings of Django's backends, under their Python names.
impl RedisConfig {
    /// Sets the mode. Default: [`RedisMode::Native`].
    pub fn with_mode(mut self, mode: RedisMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets `serializer_format`, for the modes that Django understands. Default: [`Serializer::Msgpack`].
    pub fn with_serializer_format(mut self, serializer: Serializer) -> Self {
        self.codec = MessageCodec::BuiltIn(serializer);
        self
    }

    /// Sets an encoding of the application instead of `serializer_format`, for the modes that Django understands: all
    /// processes of the layer need it. On the Python side, a class of the same format is registered by
    /// `channels_redis.serializers.registry.register_serializer`. Addresses cannot name it.
    pub fn with_serializer(mut self, serializer: impl MessageSerializer) -> Self {
        self.codec = MessageCodec::Custom(Arc::new(serializer));
        self
    }

    /// Sets `symmetric_encryption_keys`, for the modes that Django understands: the first encrypts, each decrypts.
    /// Without keys, messages are not encrypted, which is the default.
    pub fn with_symmetric_encryption_keys<K: AsRef<[u8]>>(
        mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        self.keys = Keyring::new(keys);
        self
    }

    /// Sets `random_prefix_length`, for mode `core`: the number of random bytes before each message. Default: 12.
    pub fn with_random_prefix_length(mut self, bytes: usize) -> Self {
        self.random_prefix_length = bytes;
        self
    }

    /// Sets `channel_capacity`: capacities for channels by their names.
    pub fn with_channel_capacity(mut self, rules: CapacityRules) -> Self {
        self.hub.layer.channel_capacity = rules;
        self
    }
}
