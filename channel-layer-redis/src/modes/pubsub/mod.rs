//! Mode `pubsub`: the channels and messages of `channels_redis.pubsub.RedisPubSubChannelLayer`.
//!
//! Django's format has one subscription per mailbox, and no field for an expiry, a sequence number or a sender.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz_target;
mod groups;
mod keys;

use channel_layer::{
    Audience, ChannelName, GroupName, Map, Message, Result,
    backbone::{Decoded, Destination, Format},
};

use self::keys::PubSubKeys;
use crate::{config::RedisConfig, format::PayloadFormat, link::LinkMode};

/// The links of this mode, which needs only Pub/Sub.
#[derive(Debug)]
pub(super) struct PubSubMode;

impl LinkMode for PubSubMode {}

/// Django's names and payloads.
#[derive(Debug)]
pub(super) struct DjangoFormat {
    keys: PubSubKeys,
    payload: PayloadFormat,
}

/// The payloads of this mode: without a random prefix and without a lifetime.
pub(crate) fn payload_format(config: &RedisConfig) -> PayloadFormat {
    PayloadFormat::new(config.codec.clone(), config.keys.clone())
}

impl DjangoFormat {
    pub(super) fn new(config: &RedisConfig) -> Self {
        Self { keys: PubSubKeys::new(&config.prefix), payload: payload_format(config) }
    }
}

impl Format for DjangoFormat {
    fn group_topic(&self, group: &GroupName) -> String {
        self.keys.group(group)
    }

    fn channel_topic(&self, channel: &ChannelName) -> String {
        channel.to_string()
    }

    fn destination(&self, topic: &str) -> Option<Destination> {
        self.keys.destination(topic)
    }

    fn probe_topic(&self, process: &str) -> String {
        self.keys.probe(process)
    }

    fn mailbox_name(&self, prefix: &str) -> Result<ChannelName> {
        self.keys.mailbox(prefix)
    }

    fn is_mailbox(&self, channel: &ChannelName) -> bool {
        PubSubKeys::is_mailbox(channel)
    }

    fn encode(&self, message: &Message, to: Option<&Audience>) -> Result<Vec<u8>> {
        let entry = to.map(groups::write).transpose()?.flatten();
        self.payload.encode(message, entry.as_ref().map(|entry| (groups::KEY, entry)))
    }

    fn decode(
        &self,
        group: Option<GroupName>,
        payload: &[u8],
    ) -> Result<Decoded, Box<dyn std::error::Error + Send + Sync>> {
        let mut map: Map = self.payload.decode(payload)?;
        let entry = map.remove(groups::KEY);
        let (audience, union) = match group.map(|group| groups::read(entry.as_ref(), group)) {
            Some((audience, union)) => (Some(audience), union),
            None => (None, None),
        };
        let message = Message::try_from(map)?;
        Ok(Decoded { message, audience, union })
    }
}
