//! The in-memory layer: one process, without a server.

mod named;

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::Poll,
};

use async_trait::async_trait;
use tokio::{sync::watch, time::Instant};

use self::named::NamedChannels;
use crate::{
    capability::Capabilities,
    config::{LayerConfig, MailboxOptions},
    error::{Error, Result},
    events::{EventSource, Health, LayerEvents},
    hub::Hub,
    layer::{Audience, ChannelLayer, GroupDirectory, Remote, SendReport},
    mailbox::{Delivery, Mailbox, Refusal},
    message::Message,
    name::{ChannelName, GroupName},
    selection::Selection,
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
    closed: AtomicBool,
    /// Ended when the layer is closed.
    events: EventSource,
    /// Mirrors `closed` for waiting tasks.
    ended: watch::Sender<bool>,
}

impl MemoryLayer {
    /// Creates a layer with these settings.
    pub fn new(config: LayerConfig) -> Self {
        Self { config: config.bounded(), ..Self::default() }
    }

    /// The mailboxes and groups.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Starts a call: fails if the layer is closed, and sweeps expired messages from time to time.
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
        // Every channel is of this process, so that all of them can be added and all receivers share the work. Not
        // `detects_loss`: no message is lost on the way.
        Capabilities::default()
            .with_adds_foreign(true)
            .with_global_flush(true)
            .with_orders_calls(true)
            .with_reports_full(true)
            .with_selects(true)
            .with_shares_work(true)
            .with_stores_messages(true)
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.enter()?;
        let head = format!("{}.memory", options.prefix);
        loop {
            let channel = ChannelName::random(&head)?;
            let limits = self.config.limits_of(&channel, &options);
            if let Some(mailbox) = self.hub.open(channel, limits) {
                return Ok(mailbox);
            }
        }
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        let delivery = Delivery { message, expires: self.enter()? + self.config.expiry };
        let outcome = match self.hub.send(channel, delivery.clone()) {
            Some(outcome) => outcome,
            // No receiver can ever have the name of a mailbox.
            None if channel.is_process_local() => Ok(()),
            None => self.named.send(&self.hub, channel, self.config.bounds_of(channel), delivery),
        };
        match outcome {
            Err(Refusal::Full) => Err(Error::ChannelFull { channel: channel.to_string() }),
            Ok(()) | Err(Refusal::Closed) => Ok(()),
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.enter()?;
        let owned = || Error::ChannelOwned { channel: channel.to_string() };
        let named =
            self.named.receiver(&self.hub, channel, self.config.bounds_of(channel)).ok_or_else(owned)?;
        let mut ended = self.ended.subscribe();
        let (mut received, mut ended) = (pin!(named.recv()), pin!(ended.wait_for(|ended| *ended)));
        poll_fn(|cx| match received.as_mut().poll(cx) {
            Poll::Ready(message) => Poll::Ready(Ok(message)),
            Poll::Pending => ended.as_mut().poll(cx).map(|_| Err(Error::Closed)),
        })
        .await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        if !self.hub.join(group, channel) && !channel.is_process_local() {
            self.named.join(&self.hub, group, channel, self.config.bounds_of(channel));
        }
        Ok(())
    }

    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: Selection,
    ) -> Result<()> {
        if selection == Selection::All {
            return self.group_add(group, channel).await;
        }
        self.enter()?;
        if !channel.is_process_local() {
            return Err(Error::Unsupported("selections of named channels"));
        }
        self.hub.join_selecting(group, channel, &selection);
        Ok(())
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        self.hub.leave(group, channel);
        Ok(())
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        self.hub.leave_groups_of(channel);
        Ok(())
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        let expires = self.enter()? + self.config.expiry;
        Ok(SendReport::new(self.hub.broadcast(to, message, expires).await, Remote::None))
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        Some(self)
    }

    fn events(&self) -> LayerEvents {
        self.events.subscribe()
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
        self.ended.send_replace(true);
        self.events.end();
        Ok(())
    }
}

#[async_trait]
impl GroupDirectory for MemoryLayer {
    async fn groups(&self) -> Result<Vec<GroupName>> {
        self.enter()?;
        Ok(self.hub.groups())
    }

    async fn groups_of(&self, channel: &ChannelName) -> Result<Vec<GroupName>> {
        self.enter()?;
        Ok(self.hub.groups_of(channel))
    }

    async fn members(&self, group: &GroupName) -> Result<Vec<ChannelName>> {
        self.enter()?;
        Ok(self.hub.members(group))
    }

    async fn member_count(&self, group: &GroupName) -> Result<usize> {
        self.enter()?;
        Ok(self.hub.member_count(group))
    }
}

#[cfg(test)]
mod tests;
