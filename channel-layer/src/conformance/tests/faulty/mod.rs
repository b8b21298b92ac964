//! A layer with one fault, between two processes on a bus in memory. The tests give it each fault in turn.

mod arrivals;
mod content;
mod directory;
mod faults;
mod groups;
mod harness;
mod life;
mod mailboxes;
mod queues;
mod receiving;
mod sending;
mod wire;
mod world;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use async_trait::async_trait;

pub(super) use self::{faults::Fault, harness::OnBus};
use self::{
    wire::{FaultyBackbone, Wire},
    world::World,
};
use crate::{
    backbone::HubLayer,
    capability::Capabilities,
    config::{LayerConfig, MailboxOptions},
    error::{Error, Result},
    events::{EventSource, Health, LayerEvents},
    layer::{Audience, ChannelLayer, GroupDirectory, SendReport},
    mailbox::Mailbox,
    message::Message,
    name::{ChannelName, GroupName},
    selection::Selection,
};

/// A year, for settings without an end.
const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 86_400);

/// A process: a sound layer, with a fault above or below it.
#[derive(Debug)]
pub(super) struct Faulty {
    layer: Arc<HubLayer<FaultyBackbone>>,
    fault: Option<Fault>,
    config: LayerConfig,
    wire: Arc<Wire>,
    world: Arc<World>,
    /// The number of messages that were to be sent.
    sent: AtomicU64,
    /// The number of mailboxes that were opened.
    opened: AtomicU64,
    /// The number of calls of `group_send` under way.
    under_way: AtomicUsize,
    /// The message that is sent with the next one.
    held: crate::sync::Mutex<Option<(sending::To, Message)>>,
    closed: AtomicBool,
    /// The events in place of the layer's, for faults about events.
    events: Option<Arc<EventSource>>,
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn is_away(&self) -> bool {
        self.layer.events().state().is_away()
    }

    /// Whether a channel is a mailbox of another process, open or not.
    fn is_far(&self, channel: &ChannelName) -> bool {
        channel.is_process_local() && !self.layer.hub().contains(channel)
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The outcome of a call that needs the backend during an outage, if the fault concerns it.
    async fn in_outage(&self) -> Result<()> {
        match self.fault {
            Some(Fault::HangsInOutages) if self.is_away() => std::future::pending().await,
            Some(Fault::HangsOnTheEve) if self.world.is_broken() && !self.is_away() => {
                std::future::pending().await
            }
            Some(Fault::FailsInOutages) if self.is_away() => Err(Error::Backend("it is away".into())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.layer.capabilities()
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.check_open()?;
        let mailbox = self.open_mailbox(options).await?;
        self.world.opened(&mailbox, &self.config);
        Ok(mailbox)
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.check_open()?;
        self.send_to(channel, message).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.check_open()?;
        self.receive_from(channel).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.check_open()?;
        self.add(&self.renamed(group), channel).await
    }

    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: Selection,
    ) -> Result<()> {
        self.check_open()?;
        self.select(&self.renamed(group), channel, selection).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.check_open()?;
        self.discard(&self.renamed(group), channel).await
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.check_open()?;
        self.discard_all(channel).await
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.check_open()?;
        self.send_to_groups(to, message).await
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        Some(self)
    }

    fn events(&self) -> LayerEvents {
        match &self.events {
            Some(events) => events.subscribe(),
            None => self.layer.events(),
        }
    }

    async fn health(&self) -> Result<Health> {
        self.check_open()?;
        self.check_health().await
    }

    async fn flush(&self) -> Result<()> {
        self.check_open()?;
        self.flush_all().await
    }

    async fn close(&self) -> Result<()> {
        self.end().await
    }
}
