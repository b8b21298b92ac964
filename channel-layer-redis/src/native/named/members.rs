//! Named channels in groups: a process that added one subscribes to the group and forwards to the channel.
//!
//! Several processes may have added the same channel. One of them forwards, as long as it renews its lease by
//! doing so; the server decides, so that each message is forwarded once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use channel_layer::{ChannelName, Error, GroupName, Mailbox, Result, mailbox::Bounds};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    super::{bus::Bus, remote},
    store::{self, As},
};
use crate::supervisor::Link;

/// What may wait to be forwarded; the channel itself has a capacity of its own.
const BOUNDS: Bounds = Bounds { messages: 4096, bytes: 16 << 20 };

/// How often memberships that nobody renewed are looked for, at most; more often if they end sooner.
const SWEEP: Duration = Duration::from_secs(30);

/// The named channels that this process forwards to.
#[derive(Debug, Default)]
pub(in super::super) struct Members {
    /// Held for a map access.
    forwarders: Mutex<HashMap<ChannelName, JoinHandle<()>>>,
}

impl Members {
    /// Adds a named channel to a group, or renews its membership.
    pub(in super::super) async fn join(
        &self,
        bus: &Arc<Bus>,
        links: &[Link],
        group: &GroupName,
        channel: &ChannelName,
    ) -> Result<()> {
        loop {
            self.forward(bus, channel);
            if remote::join(bus, links, group, channel).await? {
                return Ok(());
            }
            // It was in no group any more, and its forwarder has just ended: another one.
            tokio::task::yield_now().await;
        }
    }

    /// Starts to forward to a channel, if nobody does.
    fn forward(&self, bus: &Arc<Bus>, channel: &ChannelName) {
        let Some(mailbox) = bus.hub.open(channel.clone(), BOUNDS) else { return };
        let forwarder = tokio::spawn(forward(bus.clone(), mailbox));
        let mut forwarders = self.forwarders.lock().unwrap_or_else(PoisonError::into_inner);
        forwarders.retain(|_, forwarder| !forwarder.is_finished());
        forwarders.insert(channel.clone(), forwarder);
    }

    /// Ends all forwarding.
    pub(in super::super) fn close(&self) {
        let mut forwarders = self.forwarders.lock().unwrap_or_else(PoisonError::into_inner);
        forwarders.drain().for_each(|(_, forwarder)| forwarder.abort());
    }
}

/// Until the channel is in no group any more.
async fn forward(bus: Arc<Bus>, mut mailbox: Mailbox) {
    let lifetime = bus.config.layer.group_expiry;
    let mut sweep = interval((lifetime / 4).clamp(Duration::from_millis(10), SWEEP));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.tick().await; // the first comes at once, when the channel is in no group yet
    loop {
        tokio::select! {
            message = mailbox.recv() => {
                let Some(links) = bus.links() else { return };
                let pushed = store::push(&bus, &links, mailbox.channel(), &message, As::Forwarder).await;
                match pushed {
                    Ok(()) => {}
                    Err(Error::ChannelFull { .. }) => bus.counters.full.one(),
                    Err(error) => tracing::debug!(channel = %mailbox.channel(), %error, "could not forward"),
                }
            }
            _ = sweep.tick() => {
                let stale = Instant::now().checked_sub(lifetime);
                if stale.is_some_and(|then| bus.hub.leave_stale(mailbox.channel(), then)) {
                    return;
                }
            }
        }
    }
}
