//! Named channels: queues shared by any number of receivers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dashmap::DashMap;
use tokio::time::Instant;

use crate::{
    hub::Hub,
    mailbox::{
        Bounds, Delivery, Refusal,
        shared_receiver::{SharedMailbox, SharedReceiver},
    },
    name::{ChannelName, GroupName},
};

/// The time between two sweeps of expired messages: each visits every named channel.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The named channels of one layer. Each is a mailbox that the layer owns, so the hub treats it as any other.
#[derive(Debug, Default)]
pub(super) struct NamedChannels {
    channels: DashMap<ChannelName, Arc<SharedMailbox>>,
    /// The time of the last sweep.
    swept: Mutex<Option<Instant>>,
}

impl NamedChannels {
    /// Queues a message, in a new channel if there is none.
    pub(super) fn send(
        &self,
        hub: &Hub,
        channel: &ChannelName,
        bounds: Bounds,
        delivery: Delivery,
    ) -> Result<(), Refusal> {
        loop {
            let Some(named) = self.named(hub, channel, bounds) else { return Ok(()) };
            match named.sender().deliver(delivery.clone()) {
                Err(Refusal::Closed) => {} // swept at the same time: make it again
                outcome => return outcome,
            }
        }
    }

    /// Starts a receiver of the channel; `None` for the channel of a mailbox.
    pub(super) fn receiver(
        &self,
        hub: &Hub,
        channel: &ChannelName,
        bounds: Bounds,
    ) -> Option<SharedReceiver> {
        self.named(hub, channel, bounds).map(|named| named.receiver())
    }

    /// Adds the channel, which is made if there is none, to a group.
    pub(super) fn join(&self, hub: &Hub, group: &GroupName, channel: &ChannelName, bounds: Bounds) {
        let _kept = self.named(hub, channel, bounds);
        hub.join(group, channel);
    }

    /// Drops expired messages, stale memberships, and channels without messages, receivers and memberships.
    pub(super) fn sweep(&self, hub: &Hub, now: Instant, group_expiry: Duration) {
        if !self.is_time(now) {
            return;
        }
        let channels: Vec<_> = self.channels.iter().map(|entry| entry.key().clone()).collect();
        for channel in channels {
            let free = match now.checked_sub(group_expiry) {
                Some(then) => hub.leave_stale(&channel, then),
                None => hub.groups_of(&channel).is_empty(), // the clock has not run long enough: none is stale
            };
            self.channels.remove_if(&channel, |_, named| free && named.is_idle(now));
        }
    }

    pub(super) fn clear(&self) {
        self.channels.clear();
    }

    fn is_time(&self, now: Instant) -> bool {
        let Ok(mut swept) = self.swept.try_lock() else { return false };
        if swept.is_some_and(|then| now < then + SWEEP_INTERVAL) {
            return false;
        }
        *swept = Some(now);
        true
    }

    fn named(&self, hub: &Hub, channel: &ChannelName, bounds: Bounds) -> Option<Arc<SharedMailbox>> {
        if let Some(named) = self.channels.get(channel) {
            return Some(named.clone());
        }
        let entry = self.channels.entry(channel.clone());
        let named =
            entry.or_try_insert_with(|| hub.open(channel.clone(), bounds).map(SharedMailbox::new).ok_or(()));
        named.ok().map(|named| named.clone())
    }
}
