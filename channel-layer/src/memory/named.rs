//! Named channels: queues that belong to no connection, shared by any number of receivers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use dashmap::DashMap;
use std::sync::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    hub::Hub,
    mailbox::{Bounds, Delivery, Mailbox, Refusal},
    message::Message,
    name::{ChannelName, GroupName},
};

/// How often what expired is cleared, at most: the walk visits every named channel.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The named channels of one layer. Each is a mailbox that the layer owns, so that the hub need not tell it
/// from a connection's.
#[derive(Debug, Default)]
pub(super) struct NamedChannels {
    channels: DashMap<ChannelName, Arc<Named>>,
    /// When the last sweep was; who finds it long ago does the next.
    swept: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Named {
    mailbox: Mailbox,
    /// Wakes one receiver, and the next one if that one is cancelled before it took the message.
    arrivals: Arc<Arrivals>,
    receivers: AtomicUsize,
}

#[derive(Debug, Default)]
struct Arrivals(Notify);

impl Wake for Arrivals {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// A call of `receive`, for as long as it waits: its channel is kept meanwhile.
pub(super) struct Receiver(Arc<Named>);

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
            match named.mailbox.sender().deliver(delivery.clone()) {
                Err(Refusal::Closed) => {} // swept away in this moment: make it again
                outcome => return outcome,
            }
        }
    }

    /// A receiver of the channel, or nothing if the channel is somebody's own.
    pub(super) fn receiver(&self, hub: &Hub, channel: &ChannelName, bounds: Bounds) -> Option<Receiver> {
        let named = self.named(hub, channel, bounds)?;
        named.receivers.fetch_add(1, Relaxed);
        Some(Receiver(named))
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
            let stale_before = now.checked_sub(group_expiry);
            let free = stale_before.is_none_or(|then| hub.leave_stale(&channel, then));
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

    fn named(&self, hub: &Hub, channel: &ChannelName, bounds: Bounds) -> Option<Arc<Named>> {
        if let Some(named) = self.channels.get(channel) {
            return Some(named.clone());
        }
        let entry = self.channels.entry(channel.clone());
        let named = entry.or_try_insert_with(|| hub.open(channel.clone(), bounds).map(Named::new).ok_or(()));
        named.ok().map(|named| named.clone())
    }
}

impl Named {
    fn new(mut mailbox: Mailbox) -> Arc<Self> {
        let arrivals = Arc::new(Arrivals::default());
        // The mailbox's one waker stands for all receivers.
        let waker = Waker::from(arrivals.clone());
        let _: Poll<()> = mailbox.poll_ready(&mut Context::from_waker(&waker));
        Arc::new(Self { mailbox, arrivals, receivers: AtomicUsize::new(0) })
    }

    fn is_idle(self: &Arc<Self>, now: Instant) -> bool {
        self.mailbox.sender().expire(now);
        self.receivers.load(Relaxed) == 0 && Arc::strong_count(self) == 1 && self.mailbox.sender().is_empty()
    }
}

impl Receiver {
    /// Waits for a message. Cancel safe: the message is taken at the moment it is returned.
    pub(super) async fn recv(&self) -> Message {
        loop {
            if let Some(message) = self.0.mailbox.sender().pop() {
                // The mailbox wakes once for all that it holds: pass it on to the next receiver.
                if !self.0.mailbox.sender().is_empty() {
                    self.0.arrivals.0.notify_one();
                }
                return message;
            }
            self.0.arrivals.0.notified().await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.receivers.fetch_sub(1, Relaxed);
    }
}
