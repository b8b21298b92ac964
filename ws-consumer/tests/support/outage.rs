//! A layer in memory with simulated outages.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use channel_layer::{
    Audience, Capabilities, ChannelLayer, ChannelName, Error, EventSource, GroupDirectory, GroupName, Health,
    LayerEvent, LayerEvents, Mailbox, MailboxOptions, MemoryLayer, Message, Result, SendReport,
};
use tokio::time::sleep;

/// The error of every call that needs the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Backend,
    Closed,
    Full,
    Interrupted,
    TimedOut,
    Unavailable,
}

impl Trouble {
    pub const OUTAGES: [Self; 5] =
        [Self::Backend, Self::Full, Self::Interrupted, Self::TimedOut, Self::Unavailable];

    pub fn is_uncertain(self) -> bool {
        matches!(self, Self::Interrupted | Self::TimedOut)
    }

    fn error(self) -> Error {
        let cause = std::io::Error::other("WRONGPASS");
        match self {
            Self::Backend => Error::Backend(cause.into()),
            Self::Closed => Error::Closed,
            Self::Full => Error::ChannelFull { channel: "canary".to_owned() },
            Self::Interrupted => Error::Interrupted(cause.into()),
            Self::TimedOut => Error::TimedOut(Duration::from_secs(1)),
            Self::Unavailable => Error::Unavailable(cause.into()),
        }
    }
}

/// A layer that fails by the contract: memberships become wanted state, and a refused message reaches no
/// member.
#[derive(Debug, Default)]
pub struct Failing {
    pub memory: Arc<MemoryLayer>,
    trouble: Mutex<Option<Trouble>>,
    /// The time that the backend takes for each message to a group.
    pub delay: Mutex<Duration>,
    pub group_sends: AtomicUsize,
    orders_calls: AtomicBool,
    events: EventSource,
}

impl Failing {
    /// Makes calls fail from now on, or work again, without an event.
    pub fn set(&self, trouble: impl Into<Option<Trouble>>) {
        *self.trouble.lock().expect("no panic") = trouble.into();
    }

    /// Whether messages to groups may be in flight at the same time.
    pub fn order_calls(&self) {
        self.orders_calls.store(true, Relaxed);
    }

    /// Raises the event that the backend is away.
    pub fn cut_off(&self) {
        self.set(Trouble::Unavailable);
        self.events.down();
        self.events.raise(LayerEvent::Disconnected);
    }

    pub fn come_back(&self) {
        self.set(None);
        self.events.up();
        self.events.raise(LayerEvent::Reconnected { gap: Duration::from_secs(3) });
    }

    fn works(&self) -> Result<()> {
        self.trouble.lock().expect("no panic").map_or(Ok(()), |trouble| Err(trouble.error()))
    }
}

#[async_trait]
impl ChannelLayer for Failing {
    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities().with_orders_calls(self.orders_calls.load(Relaxed))
    }
    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.memory.open(options).await
    }
    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.works()?;
        self.memory.send(channel, message).await
    }
    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.works()?;
        self.memory.receive(channel).await
    }
    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        let works = self.works();
        self.memory.group_add(group, channel).await?;
        if let Err(Error::Unavailable(_)) = works { Ok(()) } else { works }
    }
    async fn group_select(
        &self,
        group: &GroupName,
        channel: &ChannelName,
        selection: channel_layer::Selection,
    ) -> Result<()> {
        self.memory.group_select(group, channel, selection).await
    }
    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.works()?;
        self.memory.group_discard(group, channel).await
    }
    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.memory.group_discard_all(channel).await
    }
    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.group_sends.fetch_add(1, Relaxed);
        let delay = *self.delay.lock().expect("no panic");
        self.works()?;
        if delay.is_zero() {
            return self.memory.group_send(to, message).await;
        }
        sleep(delay).await;
        self.works()?;
        self.memory.group_send(to, message).await
    }
    fn directory(&self) -> Option<&dyn GroupDirectory> {
        self.memory.directory()
    }
    fn events(&self) -> LayerEvents {
        self.events.subscribe()
    }
    async fn health(&self) -> Result<Health> {
        self.works()?;
        self.memory.health().await
    }
    async fn flush(&self) -> Result<()> {
        self.memory.flush().await
    }
    async fn close(&self) -> Result<()> {
        self.memory.close().await
    }
}
