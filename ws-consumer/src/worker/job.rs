//! One message that is being worked on.

use std::sync::Arc;

use channel_layer::{ChannelLayer, ChannelName, Message, REPLY_CHANNEL, Value};
use serde::Serialize;

use crate::error::Result;

/// The field with the channel of whoever waits for the end.
pub(super) const WAITING: &str = "done_channel";

/// What a worker has to do.
#[derive(Clone, Debug)]
pub struct Job {
    layer: Arc<dyn ChannelLayer>,
    channel: ChannelName,
    message: Message,
    pub(super) attempt: u32,
}

impl Job {
    pub(super) fn new(layer: Arc<dyn ChannelLayer>, channel: ChannelName, message: Message) -> Self {
        Self { layer, channel, message, attempt: 1 }
    }

    /// The layer that it came by.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.layer
    }

    /// The channel that it came by.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The message itself.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Which attempt this is; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The channel of the connection that asked for it, if one did.
    pub fn reply_channel(&self) -> Option<ChannelName> {
        self.channel_in(REPLY_CHANNEL)
    }

    /// Tells whoever asked: their `event` hook receives it. Nobody, or somebody who is gone or cannot keep up, is
    /// fine.
    ///
    /// # Errors
    /// An event that is no map, or what the layer says.
    pub async fn progress<T: Serialize + ?Sized>(&self, event: &T) -> Result<()> {
        let Some(channel) = self.reply_channel() else { return Ok(()) };
        let message = Message::encode(event)?;
        self.tell(&channel, message).await
    }

    /// Tells whoever waits how it ended.
    pub(super) async fn done(&self, outcome: &Result<()>) {
        let Some(waiting) = self.channel_in(WAITING) else { return };
        let message = match outcome {
            Ok(()) => Message::new("worker.done"),
            Err(_) => Message::new("worker.failed"),
        };
        if let Err(error) = self.tell(&waiting, message).await {
            tracing::warn!(error = %error.causes(), "nobody can be told that work is done");
        }
    }

    async fn tell(&self, channel: &ChannelName, message: Message) -> Result<()> {
        match self.layer.send(channel, message).await {
            Err(channel_layer::Error::ChannelFull { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    fn channel_in(&self, field: &str) -> Option<ChannelName> {
        self.message.get(field).and_then(Value::as_str)?.parse().ok()
    }
}
