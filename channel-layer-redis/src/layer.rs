//! The one layer that callers see, whatever its mode.

use std::{fmt, pin::Pin};

use async_trait::async_trait;
use channel_layer::{
    Audience, Capabilities, ChannelLayer, ChannelName, GroupDirectory, GroupName, Health, LayerEvents,
    Mailbox, MailboxOptions, Message, Result, SendReport, hub::Hub,
};

use crate::{
    config::{RedisConfig, RedisMode},
    modes::core::CoreLayer,
    native::NativeLayer,
    pubsub::PubSubLayer,
    stats::Stats,
};

/// A layer over Redis.
///
#[doc = include_str!("docs/layer.md")]
pub struct RedisLayer(Inner);

enum Inner {
    Core(CoreLayer),
    Native(NativeLayer),
    PubSub(PubSubLayer),
}

/// A call under way.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Calls the same method of whichever layer it is.
macro_rules! each {
    ($layer:expr, $inner:ident => $call:expr) => {
        match &$layer.0 {
            Inner::Core($inner) => $call,
            Inner::Native($inner) => $call,
            Inner::PubSub($inner) => $call,
        }
    };
}

impl RedisLayer {
    /// Connects to the Redis at this address: see [`RedisConfig`] for what it may say.
    ///
    /// # Errors
    /// [`Config`](channel_layer::Error::Config) for an address that makes no sense;
    /// [`Unavailable`](channel_layer::Error::Unavailable) when no connection can be made at first.
    pub async fn connect(address: &str) -> Result<Self> {
        Self::open(address.parse()?).await
    }

    /// As [`connect`](Self::connect), with all settings.
    ///
    /// # Errors
    /// [`Unavailable`](channel_layer::Error::Unavailable) when no connection can be made at first.
    pub async fn open(config: RedisConfig) -> Result<Self> {
        let config = config.bounded();
        Ok(Self(match config.mode {
            RedisMode::Core => Inner::Core(CoreLayer::open(config).await?),
            RedisMode::Native => Inner::Native(NativeLayer::open(config).await?),
            RedisMode::PubSub => Inner::PubSub(PubSubLayer::open(config).await?),
        }))
    }

    /// A layer that connects in the background, and whose calls are
    /// [`Unavailable`](channel_layer::Error::Unavailable) until it has: for programs that must start while Redis is
    /// away.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: RedisConfig) -> Self {
        let config = config.bounded();
        Self(match config.mode {
            RedisMode::Core => Inner::Core(CoreLayer::start(config)),
            RedisMode::Native => Inner::Native(NativeLayer::start(config)),
            RedisMode::PubSub => Inner::PubSub(PubSubLayer::start(config)),
        })
    }

    /// What has been counted since the layer was made.
    pub fn stats(&self) -> Stats {
        each!(self, layer => layer.stats())
    }

    /// The mailboxes and groups of this process.
    pub fn hub(&self) -> &Hub {
        each!(self, layer => layer.hub())
    }

    /// Is there a working connection to every host at this moment?
    pub fn is_connected(&self) -> bool {
        each!(self, layer => layer.is_connected())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for RedisLayer {
    fn capabilities(&self) -> Capabilities {
        each!(self, layer => layer.capabilities())
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        each!(self, layer => ChannelLayer::open(layer, options).await)
    }

    // Written out, like `group_send`, so that the mode's future is passed on as it is: a box around a box costs
    // as much as all the rest of the call.
    fn send<'a, 'b, 'c>(&'a self, channel: &'b ChannelName, message: Message) -> Boxed<'c, ()>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        each!(self, layer => layer.send(channel, message))
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        each!(self, layer => layer.receive(channel).await)
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        each!(self, layer => layer.group_add(group, channel).await)
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        each!(self, layer => layer.group_discard(group, channel).await)
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        each!(self, layer => layer.group_discard_all(channel).await)
    }

    fn group_send<'a, 'b, 'c>(&'a self, to: &'b Audience, message: Message) -> Boxed<'c, SendReport>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        each!(self, layer => layer.group_send(to, message))
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        each!(self, layer => layer.directory())
    }

    fn events(&self) -> LayerEvents {
        each!(self, layer => layer.events())
    }

    async fn health(&self) -> Result<Health> {
        each!(self, layer => layer.health().await)
    }

    async fn flush(&self) -> Result<()> {
        each!(self, layer => layer.flush().await)
    }

    async fn close(&self) -> Result<()> {
        each!(self, layer => layer.close().await)
    }
}

/// Shows where it stands, and no address.
impl fmt::Debug for RedisLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each!(self, layer => layer.fmt(f))
    }
}
