//! The message that a worker handles.

use std::sync::Arc;

use channel_layer::{ChannelLayer, ChannelName, Message, REPLY_CHANNEL, Value};
use serde::Serialize;

use crate::error::Result;

/// The field with the channel that waits for the end of the work.
pub(super) const DONE_CHANNEL: &str = "done_channel";

/// A message that a worker handles.
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

    /// The layer that delivered the message.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.layer
    }

    /// The channel that delivered the message.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The channel of the connection that submitted the event, if one did.
    pub fn reply_channel(&self) -> Option<ChannelName> {
        self.channel_in(REPLY_CHANNEL)
    }

    /// Reports progress to the submitting connection, whose `event` hook receives it. A report to a connection that is gone or
    /// full is dropped.
    ///
    /// # Errors
    /// The event is no map, or the layer fails.
    pub async fn progress<T: Serialize + ?Sized>(&self, event: &T) -> Result<()> {
        let Some(channel) = self.reply_channel() else { return Ok(()) };
        let message = Message::encode(event)?;
        self.report(&channel, message).await
    }

    /// Reports the end of the work.
    pub(super) async fn done(&self, outcome: &Result<()>) {
        let Some(waiting) = self.channel_in(DONE_CHANNEL) else { return };
        let message = match outcome {
            Ok(()) => Message::new("worker.done"),
            Err(_) => Message::new("worker.failed"),
        };
        if let Err(error) = self.report(&waiting, message).await {
            tracing::warn!(error = %error.causes(), "the end of work could not be reported");
        }
    }

    async fn report(&self, channel: &ChannelName, message: Message) -> Result<()> {
        match self.layer.send(channel, message).await {
            Err(channel_layer::Error::ChannelFull { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    fn channel_in(&self, field: &str) -> Option<ChannelName> {
        self.message.get(field).and_then(Value::as_str)?.parse().ok()
    }
}
