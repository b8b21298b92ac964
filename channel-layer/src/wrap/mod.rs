//! Layers around layers: [`Traced`], [`Delayed`], [`Lossy`], [`Recording`], [`Outage`].
//!
//! A [`Wrapped`] layer is a layer like any other. A [`Wrap`] is what it adds: one of those here, or one of yours.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
//! use channel_layer::{
//!     ChannelLayerExt, MemoryLayer, Message,
//!     wrap::{Recorded, Recording, Traced, Wrapped},
//! };
//!
//! let recording = Recording::default();
//! let layer = Wrapped::new(Wrapped::new(MemoryLayer::default(), recording.clone()), Traced);
//! layer.group_send_message("lobby", Message::new("hello")).await?;
//! assert!(matches!(&recording.take()[..], [Recorded::GroupSend { message, .. }] if message.event_type() == Some("hello")));
//! # Ok(()) }
//! ```

mod delayed;
mod lossy;
mod outage;
mod recording;
mod traced;

use std::fmt;

use async_trait::async_trait;

pub use self::{
    delayed::Delayed,
    lossy::Lossy,
    outage::Outage,
    recording::{Recorded, Recording},
    traced::Traced,
};
use crate::{
    capability::Capabilities,
    config::MailboxOptions,
    error::Result,
    events::{Health, LayerEvents},
    layer::{Audience, ChannelLayer, Deliveries, GroupDirectory, Remote, SendReport},
    mailbox::Mailbox,
    message::Message,
    name::{ChannelName, GroupName},
    selection::Selection,
};

/// The code around every call of a layer.
pub trait Wrap: fmt::Debug + Send + Sync + 'static {
    /// Runs a call. `forward` makes it on the inner layer; a dropped `forward` makes no call.
    fn around<T: Send>(
        &self,
        call: Call<'_>,
        forward: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send;

    /// Whether this message is dropped. Called for `send` and `group_send`, which then succeed without an effect. False
    /// by default.
    fn drops(&self, call: Call<'_>) -> bool {
        let _ = call;
        false
    }

    /// The events of the layer, given those of the inner layer: the same by default.
    fn events(&self, events: LayerEvents) -> LayerEvents {
        events
    }
}

/// A call of a layer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the fields are the arguments of the methods that the variants are named after"
)]
pub enum Call<'a> {
    Close,
    Flush,
    GroupAdd { group: &'a GroupName, channel: &'a ChannelName },
    GroupDiscard { group: &'a GroupName, channel: &'a ChannelName },
    GroupDiscardAll { channel: &'a ChannelName },
    GroupSelect { group: &'a GroupName, channel: &'a ChannelName, selection: &'a Selection },
    GroupSend { to: &'a Audience, message: &'a Message },
    Health,
    Open { options: &'a MailboxOptions },
    Receive { channel: &'a ChannelName },
    Send { channel: &'a ChannelName, message: &'a Message },
}

impl Call<'_> {
    /// The method's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Flush => "flush",
            Self::GroupAdd { .. } => "group_add",
            Self::GroupDiscard { .. } => "group_discard",
            Self::GroupDiscardAll { .. } => "group_discard_all",
            Self::GroupSelect { .. } => "group_select",
            Self::GroupSend { .. } => "group_send",
            Self::Health => "health",
            Self::Open { .. } => "open",
            Self::Receive { .. } => "receive",
            Self::Send { .. } => "send",
        }
    }
}

/// A layer within a [`Wrap`].
#[derive(Debug)]
pub struct Wrapped<L, W> {
    layer: L,
    wrap: W,
}

impl<L: ChannelLayer, W: Wrap> Wrapped<L, W> {
    /// Puts `wrap` around `layer`.
    pub fn new(layer: L, wrap: W) -> Self {
        Self { layer, wrap }
    }

    /// The inner layer.
    pub fn inner(&self) -> &L {
        &self.layer
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: ChannelLayer, W: Wrap> ChannelLayer for Wrapped<L, W> {
    fn capabilities(&self) -> Capabilities {
        self.layer.capabilities()
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.wrap.around(Call::Open { options: &options.clone() }, self.layer.open(options)).await
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        let shared = message.clone();
        let call = Call::Send { channel, message: &shared };
        if self.wrap.drops(call) {
            return Ok(());
        }
        self.wrap.around(call, self.layer.send(channel, message)).await
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.wrap.around(Call::Receive { channel }, self.layer.receive(channel)).await
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.wrap.around(Call::GroupAdd { group, channel }, self.layer.group_add(group, channel)).await
    }

    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: Selection,
    ) -> Result<()> {
        let call = Call::GroupSelect { group, channel, selection: &selection.clone() };
        self.wrap.around(call, self.layer.group_select(group, channel, selection)).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.wrap
            .around(Call::GroupDiscard { group, channel }, self.layer.group_discard(group, channel))
            .await
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.wrap.around(Call::GroupDiscardAll { channel }, self.layer.group_discard_all(channel)).await
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        let shared = message.clone();
        let call = Call::GroupSend { to, message: &shared };
        if self.wrap.drops(call) {
            return Ok(SendReport::new(Deliveries::default(), Remote::Unknown));
        }
        self.wrap.around(call, self.layer.group_send(to, message)).await
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        self.layer.directory()
    }

    fn events(&self) -> LayerEvents {
        self.wrap.events(self.layer.events())
    }

    async fn health(&self) -> Result<Health> {
        self.wrap.around(Call::Health, self.layer.health()).await
    }

    async fn flush(&self) -> Result<()> {
        self.wrap.around(Call::Flush, self.layer.flush()).await
    }

    async fn close(&self) -> Result<()> {
        self.wrap.around(Call::Close, self.layer.close()).await
    }
}

#[cfg(test)]
mod tests;
