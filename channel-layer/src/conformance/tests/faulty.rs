//! Layers with one fault each.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

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
};

#[derive(Debug)]
pub(super) struct Faulty {
    layer: Arc<MemoryLayer>,
    fault: Fault,
    sent: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A message arrives twice.
    Duplicates,
    /// Who left a group still hears it.
    Leaks,
    /// Every second message comes late.
    Reorders,
}

impl Faulty {
    pub(super) fn new(layer: MemoryLayer, fault: Fault) -> Self {
        Self { layer: Arc::new(layer), fault, sent: AtomicU64::new(0) }
    }

    fn is_late(&self) -> bool {
        self.fault == Fault::Reorders && self.sent.fetch_add(1, Relaxed).is_multiple_of(2)
    }
}

/// So late that the next one overtakes it.
fn later(call: impl Future<Output: Send> + Send + 'static) {
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        call.await
    });
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.layer.capabilities()
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.layer.open(options).await
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        if self.is_late() {
            let (layer, channel) = (self.layer.clone(), channel.clone());
            later(async move { layer.send(&channel, message).await });
            return Ok(());
        }
        if self.fault == Fault::Duplicates {
            self.layer.send(channel, message.clone()).await?;
        }
        self.layer.send(channel, message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.layer.receive(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.layer.group_add(group, channel).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        match self.fault {
            Fault::Leaks => Ok(()),
            _ => self.layer.group_discard(group, channel).await,
        }
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        match self.fault {
            Fault::Leaks => Ok(()),
            _ => self.layer.group_discard_all(channel).await,
        }
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        let report = self.layer.group_send(to, message.clone()).await?;
        if self.fault == Fault::Duplicates {
            return self.layer.group_send(to, message).await;
        }
        Ok(report)
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        self.layer.directory()
    }

    fn events(&self) -> LayerEvents {
        self.layer.events()
    }

    async fn health(&self) -> Result<Health> {
        self.layer.health().await
    }

    async fn flush(&self) -> Result<()> {
        self.layer.flush().await
    }

    async fn close(&self) -> Result<()> {
        self.layer.close().await
    }
}
