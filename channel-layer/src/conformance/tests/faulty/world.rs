//! The state that the processes of one test share, for faults that depend on more than one of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::broadcast;

use super::wire::FaultyBackbone;
use crate::{
    backbone::HubLayer,
    config::LayerConfig,
    events::EventSource,
    mailbox::{Mailbox, MailboxSender},
    message::Message,
    name::{ChannelName, GroupName},
    sync::{Mutex, MutexGuard, lock},
};

#[derive(Debug, Default)]
pub(super) struct World {
    state: Mutex<State>,
    broken: AtomicBool,
    outages: AtomicUsize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The number of times that a channel was added to a group.
    pub(super) joins: BTreeMap<(GroupName, ChannelName), usize>,
    /// The channels that have left a group.
    pub(super) left: Vec<(GroupName, ChannelName)>,
    /// The mailboxes, with their capacities.
    pub(super) mailboxes: HashMap<ChannelName, (MailboxSender, usize)>,
    /// The number of messages that were sent to a channel.
    pub(super) sends: HashMap<ChannelName, usize>,
    /// The number of receivers of a named channel.
    pub(super) receivers: HashMap<ChannelName, usize>,
    /// The messages received on a named channel.
    pub(super) received: HashMap<ChannelName, broadcast::Sender<Message>>,
    /// The number of mailboxes that were opened.
    pub(super) opened: usize,
    pub(super) layers: Vec<Arc<HubLayer<FaultyBackbone>>>,
    pub(super) events: Vec<Arc<EventSource>>,
}

impl World {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn opened(&self, mailbox: &Mailbox, config: &LayerConfig) {
        let (channel, sender) = (mailbox.channel().clone(), mailbox.sender().clone());
        let capacity = config.capacity_of(&channel);
        self.state().mailboxes.insert(channel, (sender, capacity));
    }

    /// Notes that the backend is broken, or mended.
    pub(super) fn set_broken(&self, broken: bool) {
        if broken {
            self.outages.fetch_add(1, Relaxed);
        }
        self.broken.store(broken, Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    pub(super) fn outages(&self) -> usize {
        self.outages.load(Relaxed)
    }
}

impl State {
    /// Whether a mailbox is open, in any process.
    pub(super) fn is_open(&self, channel: &ChannelName) -> bool {
        self.mailboxes.get(channel).is_some_and(|(sender, _)| !sender.is_closed())
    }

    /// Whether a mailbox holds as much as it may.
    pub(super) fn is_full(&self, channel: &ChannelName) -> bool {
        self.mailboxes.get(channel).is_some_and(|(sender, capacity)| sender.len() >= *capacity)
    }

    pub(super) fn any_full(&self) -> bool {
        self.mailboxes.keys().any(|channel| self.is_full(channel))
    }

    /// The channels that were added to a group.
    pub(super) fn members(&self, group: &GroupName) -> Vec<ChannelName> {
        self.joins.keys().filter(|(of, _)| of == group).map(|(_, channel)| channel.clone()).collect()
    }
}
