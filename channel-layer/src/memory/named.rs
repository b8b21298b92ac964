//! Named channels: queues that belong to no connection, shared by any number of receivers.

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
        shared::{SharedMailbox, SharedReceiver},
    },
    name::{ChannelName, GroupName},
};

/// How often what expired is cleared, at most: the walk visits every named channel.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The named channels of one layer. Each is a mailbox that the layer owns, so that the hub need not tell it
/// from a connection's.
#[derive(Debug, Default)]
pub(super) struct NamedChannels {
    channels: DashMap<ChannelName, Arc<SharedMailbox>>,
    /// When the last sweep was; who finds it long ago does the next.
    swept: Mutex<Option<Instant>>,
}

impl NamedChannels {
    /// Queues a message; makes the channel if need be.
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
                Err(Refusal::Closed) => {} // swept away in this moment: make it again
                outcome => return outcome,
            }
        }
    }

    /// A receiver of the channel, or nothing if the channel is somebody's own.
    pub(super) fn receiver(
        &self,
        hub: &Hub,
        channel: &ChannelName,
        bounds: Bounds,
    ) -> Option<SharedReceiver> {
        self.named(hub, channel, bounds).map(|named| named.receiver())
    }

    /// Adds the channel to a group; makes the channel if need be.
    pub(super) fn join(&self, hub: &Hub, group: &GroupName, channel: &ChannelName, bounds: Bounds) {
        let _kept = self.named(hub, channel, bounds);
        hub.join(group, channel);
    }

    /// Drops expired messages, stale memberships, and the channels that nothing keeps any more.
    pub(super) fn sweep(&self, hub: &Hub, now: Instant, group_expiry: Duration) {
        if !self.is_time(now) {
            return;
        }
        let channels: Vec<_> = self.channels.iter().map(|entry| entry.key().clone()).collect();
        for channel in channels {
            let free = match now.checked_sub(group_expiry) {
                Some(then) => hub.leave_stale(&channel, then),
                None => hub.groups_of(&channel).is_empty(), // the clock has not run for so long: nothing is stale
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
