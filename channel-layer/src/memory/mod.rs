//! The in-memory layer: one process, no server, nothing kept beyond it.

mod named;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use tokio::time::Instant;

use self::named::NamedChannels;
use crate::{
    capability::Capabilities,
    config::{LayerConfig, MailboxOptions},
    error::{Error, Result},
    events::{Health, LayerEvents},
    hub::Hub,
    layer::{Audience, ChannelLayer, Remote, SendReport},
    mailbox::{Bounds, Delivery, Mailbox, Refusal},
    message::Message,
    name::{ChannelName, GroupName},
};

/// A [`ChannelLayer`] within one process, for single-process servers and for tests.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
/// use channel_layer::{ChannelLayer, LayerConfig, MemoryLayer, Message};
///
/// let mut config = LayerConfig::default();
/// config.capacity = 1;
/// let layer = MemoryLayer::new(config);
///
/// let jobs = "jobs".parse()?;
/// layer.send(&jobs, Message::new("resize")).await?;
/// assert!(layer.send(&jobs, Message::new("resize")).await.is_err(), "full");
/// assert_eq!(layer.receive(&jobs).await?.event_type(), Some("resize"));
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct MemoryLayer {
    config: LayerConfig,
    hub: Hub,
    named: NamedChannels,
    /// Numbers the mailboxes. In one process nobody can guess wrong on purpose, so it need not be random.
    opened: AtomicU64,
    closed: AtomicBool,
}

impl MemoryLayer {
    /// A layer with these settings.
    pub fn new(config: LayerConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// The mailboxes and groups.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    fn bounds(&self) -> Bounds {
        Bounds { messages: self.config.capacity, bytes: self.config.byte_capacity }
    }

    /// Every call starts here: it looks whether the layer is open, and now and then clears what expired.
    fn enter(&self) -> Result<Instant> {
        if self.closed.load(Relaxed) {
            return Err(Error::Closed);
        }
        let now = Instant::now();
        self.named.sweep(&self.hub, now, self.config.group_expiry);
        Ok(now)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for MemoryLayer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_global_flush(true).with_reports_full(true).with_stores_messages(true)
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.enter()?;
        let bounds = Bounds {
            messages: options.capacity.unwrap_or(self.config.capacity),
            bytes: options.byte_capacity.unwrap_or(self.config.byte_capacity),
        };
        loop {
            let number = self.opened.fetch_add(1, Relaxed);
            let channel = ChannelName::new(format!("{}.memory!{number:x}", options.prefix))?;
            if let Some(mailbox) = self.hub.open(channel, bounds) {
                return Ok(mailbox);
            }
        }
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        let delivery = Delivery { message, expires: self.enter()? + self.config.expiry };
        let outcome = match self.hub.send(channel, delivery.clone()) {
            Some(outcome) => outcome,
            // Nobody can ever receive from a name that was local to a mailbox.
            None if channel.is_process_local() => Ok(()),
            None => self.named.send(&self.hub, channel, self.bounds(), delivery),
        };
        match outcome {
            Err(Refusal::Full) => Err(Error::ChannelFull { channel: channel.to_string() }),
            Ok(()) | Err(Refusal::Closed) => Ok(()),
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.enter()?;
        let owned = || Error::ChannelOwned { channel: channel.to_string() };
        let named = self.named.receiver(&self.hub, channel, self.bounds()).ok_or_else(owned)?;
        Ok(named.recv().await)
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        if !self.hub.join(group, channel) && !channel.is_process_local() {
            self.named.join(&self.hub, group, channel, self.bounds());
        }
        Ok(())
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        self.hub.leave(group, channel);
        Ok(())
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        let expires = self.enter()? + self.config.expiry;
        Ok(SendReport::new(self.hub.broadcast(to, message, expires).await, Remote::None))
    }

    fn events(&self) -> LayerEvents {
        LayerEvents::none()
    }

    async fn health(&self) -> Result<Health> {
        self.enter()?;
        Ok(Health::new(Default::default(), self.hub.mailbox_count(), self.hub.group_count()))
    }

    async fn flush(&self) -> Result<()> {
        self.enter()?;
        self.hub.leave_all();
        self.hub.discard_messages();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Relaxed);
        self.hub.leave_all();
        self.named.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
