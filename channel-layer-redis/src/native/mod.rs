//! The native mode: Pub/Sub between processes, fan-out within them.
//!
//! A group costs one subscription per process, whatever its size, and a `group_send` one `PUBLISH`. What a
//! process sends to a group of which it has members itself comes back to it by the same way, so all members
//! everywhere see one order.

mod bus;
mod echo;
mod inbound;
pub(crate) mod named;
mod order;
mod remote;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use channel_layer::{
    Audience, Capabilities, ChannelLayer, ChannelName, Deliveries, Error, GroupDirectory, GroupName, Health,
    LayerEvents, Mailbox, MailboxOptions, Message, Remote, Result, SendReport,
    hub::Hub,
    mailbox::{Delivery, Refusal},
};
use futures_util::future::{join_all, try_join_all};
use tokio::{task::JoinHandle, time::Instant};

use self::{
    bus::{Bus, link_of},
    echo::Own,
    inbound::Inbound,
    named::{As, Desk, Members, Reader, Stored},
};
use crate::{codec::Target, config::RedisConfig, error::Fault, stats::Stats, supervisor::Link};

/// The layer of this mode.
pub(crate) struct NativeLayer {
    bus: Arc<Bus>,
    /// One per host. Everything else knows them weakly, so that dropping the layer ends them.
    links: Arc<[Link]>,
    desks: Vec<Arc<Desk<Stored>>>,
    /// One per host, once somebody receives there.
    readers: Mutex<Vec<Option<JoinHandle<()>>>>,
    members: Members,
    closed: AtomicBool,
}

impl NativeLayer {
    /// Connects, and waits for it.
    pub(crate) async fn open(config: RedisConfig) -> Result<Self> {
        let layer = Self::start(config);
        try_join_all(layer.links.iter().map(Link::connected)).await?;
        Ok(layer)
    }

    /// Connects in the background.
    pub(crate) fn start(config: RedisConfig) -> Self {
        let config = Arc::new(config);
        let bus = Bus::new(config.clone());
        let link = |place: &crate::config::Place| {
            let mode = Arc::new(Inbound::new(bus.clone()));
            Link::start(place.clone(), config.clone(), mode, bus.counters.clone())
        };
        let links: Arc<[Link]> = config.places.iter().map(link).collect();
        bus.set_links(&links);
        let desk = |_| Arc::new(Desk::new(bus.counters.clone()));
        let desks: Vec<_> = links.iter().map(desk).collect();
        let readers = Mutex::new(links.iter().map(|_| None).collect());
        Self { bus, links, desks, readers, members: Members::default(), closed: AtomicBool::new(false) }
    }

    /// What has been counted since the layer was made.
    pub(crate) fn stats(&self) -> Stats {
        self.bus.counters.snapshot()
    }

    /// The mailboxes and groups of this process.
    pub(crate) fn hub(&self) -> &Hub {
        &self.bus.hub
    }

    /// Is there a working connection to every host at this moment?
    pub(crate) fn is_connected(&self) -> bool {
        self.links.iter().all(Link::is_up)
    }

    fn enter(&self) -> Result<()> {
        if self.closed.load(Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    fn expires(&self) -> Instant {
        Instant::now() + self.bus.config.layer.expiry
    }

    /// To the process that holds the mailbox.
    async fn send_to_owner(&self, channel: &ChannelName, message: &Message) -> Result<()> {
        let Some(owner) = remote::owner_of(channel).filter(|owner| *owner != self.bus.node_name) else {
            return Ok(()); // a mailbox of nobody's, or a closed one of ours
        };
        let number = self.bus.next_number();
        let envelope = self.bus.envelope(number, &Target::Channel(channel.clone()), Some(message))?;
        link_of(&self.links, owner).publish(self.bus.keys.node(owner), envelope).await?;
        Ok(())
    }

    async fn send_to_group(&self, to: &Audience, group: &GroupName, message: Message) -> Result<SendReport> {
        let number = self.bus.next_number();
        let envelope = self.bus.envelope(number, &Target::Audience(to.clone()), Some(&message))?;
        let link = link_of(&self.links, group.as_str());
        let place = self.bus.keys.group(group);
        let is_subscribed = link.is_subscribed(&place);
        let echo = self.expect_echo(number, message, is_subscribed && self.bus.hub.member_count(group) > 0);
        let reached = link.publish(place, envelope).await?;
        let others =
            usize::try_from(reached).unwrap_or(usize::MAX).saturating_sub(usize::from(is_subscribed));
        Ok(SendReport::new(self.local(echo).await, Remote::Processes(others)))
    }

    async fn send_to_groups(&self, to: &Audience, message: Message) -> Result<SendReport> {
        let mut groups: Vec<_> = to.groups().collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.len() > usize::from(u8::MAX) {
            return Err(Error::InvalidMessage("to more than 255 groups".into()));
        }
        let number = self.bus.next_number();
        let envelope = self.bus.envelope(number, &Target::Audience(to.clone()), Some(&message))?;
        let has_members = |group: &&&GroupName| self.bus.hub.member_count(group) > 0;
        let echo = self.expect_echo(number, message, groups.iter().any(|group| has_members(&group)));
        let publish = |group: &GroupName| {
            link_of(&self.links, group.as_str()).publish(self.bus.keys.group(group), envelope.clone())
        };
        Fault::of_parts(join_all(groups.into_iter().map(publish)).await)?;
        Ok(SendReport::new(self.local(echo).await, Remote::Unknown))
    }

    fn expect_echo(&self, number: u64, message: Message, expected: bool) -> Option<Echo<'_>> {
        expected.then(|| self.bus.echoes.expect(number, Own { message, expires: self.expires() }))
    }

    /// What became of a message in this process, once it has come back.
    async fn local(&self, echo: Option<Echo<'_>>) -> Deliveries {
        match echo {
            Some(echo) => echo.wait(self.bus.config.timeout).await.unwrap_or_default(),
            None => Deliveries::default(),
        }
    }

    /// Starts the reader of a link, if it does not run yet.
    fn desk(&self, channel: &ChannelName) -> &Desk<Stored> {
        let at = crate::ring::host_of(channel.as_str(), self.links.len());
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers[at].get_or_insert_with(|| {
            let links = Arc::downgrade(&self.links);
            let reader = Reader { bus: self.bus.clone(), links, at, desk: self.desks[at].clone() };
            tokio::spawn(reader.run())
        });
        &self.desks[at]
    }

    async fn close_readers(&self) {
        self.desks.iter().for_each(|desk| desk.close());
        let readers: Vec<_> = self
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        for mut reader in readers {
            if tokio::time::timeout(self.bus.patience() * 2, &mut reader).await.is_err() {
                reader.abort();
            }
        }
    }
}

type Echo<'a> = echo::Ticket<'a, Own, Deliveries>;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChannelLayer for NativeLayer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_adds_foreign(true)
            .with_cross_process(true)
            .with_global_flush(true)
            .with_orders_calls(true)
            .with_reports_full(true)
            .with_shares_work(true)
            .with_stores_messages(true)
    }

    async fn open(&self, options: MailboxOptions) -> Result<Mailbox> {
        self.enter()?;
        let head = format!("{}.{}", options.prefix, self.bus.node_name);
        loop {
            let channel = ChannelName::random(&head)?;
            let terms = self.bus.config.layer.terms_of(&channel, &options);
            if let Some(mailbox) = self.bus.hub.open(channel, terms) {
                return Ok(mailbox);
            }
        }
    }

    async fn send(&self, channel: &ChannelName, message: Message) -> Result<()> {
        self.enter()?;
        if !channel.is_process_local() {
            return named::push(&self.bus, &self.links, channel, &message, As::Sender).await;
        }
        let delivery = Delivery { message: message.clone(), expires: self.expires() };
        match self.bus.hub.send(channel, delivery) {
            Some(Err(Refusal::Full)) => Err(Error::ChannelFull { channel: channel.to_string() }),
            Some(_) => Ok(()),
            None => self.send_to_owner(channel, &message).await,
        }
    }

    async fn receive(&self, channel: &ChannelName) -> Result<Message> {
        self.enter()?;
        if channel.is_process_local() {
            return Err(Error::ChannelOwned { channel: channel.to_string() });
        }
        self.desk(channel).receive(channel).await.ok_or(Error::Closed)
    }

    async fn group_add(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        if !channel.is_process_local() {
            return self.members.join(&self.bus, &self.links, group, channel).await;
        }
        if self.bus.hub.contains(channel) {
            remote::join(&self.bus, &self.links, group, channel).await?;
            return Ok(());
        }
        remote::ask(&self.bus, &self.links, channel, Target::Add(channel.clone(), group.clone())).await
    }

    async fn group_discard(&self, group: &GroupName, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        let is_ours = self.bus.hub.contains(channel);
        self.bus.hub.leave(group, channel);
        let request = Target::Discard(channel.clone(), group.clone());
        if !channel.is_process_local() {
            // Any process may have added it.
            let envelope = self.bus.envelope(self.bus.next_number(), &request, None)?;
            self.links[0].publish(self.bus.keys.control(), envelope).await?;
            return Ok(());
        }
        if is_ours {
            return Ok(());
        }
        remote::ask(&self.bus, &self.links, channel, request).await
    }

    async fn group_discard_all(&self, channel: &ChannelName) -> Result<()> {
        self.enter()?;
        self.bus.hub.leave_groups_of(channel);
        Ok(())
    }

    async fn group_send(&self, to: &Audience, message: Message) -> Result<SendReport> {
        self.enter()?;
        if to.is_local_only() {
            let deliveries = self.bus.hub.broadcast(to, message, self.expires()).await;
            return Ok(SendReport::new(deliveries, Remote::None));
        }
        match to.only_group() {
            Some(group) => self.send_to_group(to, group, message).await,
            None => self.send_to_groups(to, message).await,
        }
    }

    fn directory(&self) -> Option<&dyn GroupDirectory> {
        None // each process knows its own members only
    }

    fn events(&self) -> LayerEvents {
        self.bus.events.subscribe()
    }

    async fn health(&self) -> Result<Health> {
        self.enter()?;
        let trips = try_join_all(self.links.iter().map(Link::round_trip)).await?;
        let slowest = trips.into_iter().max().unwrap_or(Duration::ZERO);
        Ok(Health::new(slowest, self.bus.hub.mailbox_count(), self.bus.hub.group_count()))
    }

    async fn flush(&self) -> Result<()> {
        self.enter()?;
        if let Some(link) = self.links.iter().find(|link| !link.is_up()) {
            return Err(link.away().into()); // before anything is dropped here
        }
        self.bus.hub.leave_all();
        self.bus.hub.discard_messages();
        self.desks.iter().for_each(|desk| desk.discard());
        let envelope = self.bus.envelope(self.bus.next_number(), &Target::Flush, None)?;
        self.links[0].publish(self.bus.keys.control(), envelope).await?;
        try_join_all(self.links.iter().map(|link| named::clear(&self.bus, link))).await?;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Relaxed) {
            return Ok(());
        }
        self.members.close(&self.bus, &self.links).await;
        self.close_readers().await;
        join_all(self.links.iter().map(Link::close)).await;
        self.bus.hub.leave_all();
        self.bus.events.end();
        Ok(())
    }
}

impl Drop for NativeLayer {
    fn drop(&mut self) {
        self.members.abort();
        self.desks.iter().for_each(|desk| desk.close());
        let readers = self.readers.get_mut().unwrap_or_else(PoisonError::into_inner);
        readers.iter().flatten().for_each(JoinHandle::abort);
    }
}

/// Shows where it stands, and no address.
impl fmt::Debug for NativeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeLayer")
            .field("node", &self.bus.node_name)
            .field("hosts", &self.links.len())
            .field("connected", &self.is_connected())
            .field("hub", &self.bus.hub)
            .finish()
    }
}
