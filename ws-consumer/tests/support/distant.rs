//! A layer at a distance.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use channel_layer::{
    Audience, Capabilities, ChannelLayer, ChannelName, Deliveries, GroupDirectory, GroupName, Health,
    LayerEvents, Mailbox, MailboxOptions, MemoryLayer, Message, Remote, SendReport,
};
use tokio::time::sleep;

/// A layer whose messages are delayed, as over a network.
#[derive(Debug)]
pub struct Distant {
    pub inner: Arc<MemoryLayer>,
    pub away: Duration,
}

#[async_trait]
impl ChannelLayer for Distant {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn open(&self, options: MailboxOptions) -> channel_layer::Result<Mailbox> {
        self.inner.open(options).await
    }
    async fn send(&self, channel: &ChannelName, message: Message) -> channel_layer::Result<()> {
        self.inner.send(channel, message).await
    }
    async fn receive(&self, channel: &ChannelName) -> channel_layer::Result<Message> {
        self.inner.receive(channel).await
    }
    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> channel_layer::Result<()> {
        self.inner.group_add(group, channel).await
    }
    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: channel_layer::Selection,
    ) -> channel_layer::Result<()> {
        self.inner.group_select(group, channel, selection).await
    }
    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> channel_layer::Result<()> {
        self.inner.group_discard(group, channel).await
    }
    async fn group_discard_all(&self, channel: &ChannelName) -> channel_layer::Result<()> {
        self.inner.group_discard_all(channel).await
    }
    /// Sends: the backend has the message after half of the delay, its members after all of it.
    async fn group_send(&self, to: &Audience, message: Message) -> channel_layer::Result<SendReport> {
        sleep(self.away / 2).await;
        let (inner, to, away) = (self.inner.clone(), to.clone(), self.away);
        tokio::spawn(async move {
            sleep(away / 2).await;
            inner.group_send(&to, message).await
        });
        Ok(SendReport::new(Deliveries::default(), Remote::None))
    }
    fn directory(&self) -> Option<&dyn GroupDirectory> {
        self.inner.directory()
    }
    fn events(&self) -> LayerEvents {
        self.inner.events()
    }
    async fn health(&self) -> channel_layer::Result<Health> {
        sleep(self.away).await;
        self.inner.health().await
    }
    async fn flush(&self) -> channel_layer::Result<()> {
        self.inner.flush().await
    }
    async fn close(&self) -> channel_layer::Result<()> {
        self.inner.close().await
    }
}
