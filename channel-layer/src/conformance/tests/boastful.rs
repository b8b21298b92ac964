//! Memory that claims to reach other processes.

use async_trait::async_trait;

use crate::{
    capability::Capabilities,
    config::MailboxOptions,
    error::Result,
    events::{Health, LayerEvents},
    layer::{Audience, ChannelLayer, GroupDirectory, SendReport},
    mailbox::Mailbox,
    memory::MemoryLayer,
    message::Message,
    name::{ChannelName, GroupName},
    selection::Selection,
};

#[derive(Debug)]
pub(super) struct Boastful(pub(super) MemoryLayer);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for Boastful {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities().with_cross_process(true)
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.0.open(options).await
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.0.send(channel, message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.0.receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.0.group_add(group, channel).await
    }

    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: Selection,
    ) -> Result<()> {
        self.0.group_select(group, channel, selection).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.0.group_discard(group, channel).await
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.0.group_discard_all(channel).await
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.0.group_send(to, message).await
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        self.0.directory()
    }

    fn events(&self) -> LayerEvents {
        self.0.events()
    }

    async fn health(&self) -> Result<Health> {
        self.0.health().await
    }

    async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
