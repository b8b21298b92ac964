//! Named channels in groups: a process that added one subscribes to the group and forwards to the channel.
//!
//! Several processes may have added the same channel. One of them forwards, as long as it renews its lease by
//! doing so; the server decides, so that each message is forwarded once.
//!
//! # Handover
//! A process that closes says farewell in the stream of messages itself, to all processes and to itself. It forwards
//! what comes before, the others what comes behind: whoever is late or early, nothing is lost or forwarded twice.
//! With several hosts there is no one order of what comes from them, so it holds for each of them about.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use channel_layer::{ChannelName, Error, GroupName, Mailbox, Message, Result, mailbox::Bounds};
use futures_util::future::{join_all, try_join_all};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use super::{
    super::{bus::Bus, remote},
    store::{self, As},
};
use crate::{codec::Target, stats::Count, supervisor::Link};

/// What may wait to be forwarded; the channel itself has a capacity of its own.
const BOUNDS: Bounds = Bounds { messages: 4096, bytes: 16 << 20 };

/// How often memberships that nobody renewed are looked for, at most; more often if they end sooner.
const SWEEP: Duration = Duration::from_secs(30);

/// The type of the message that ends the forwarding of one node: it goes to the channel's forwarders, never further.
const FAREWELL: &str = "channel_layer_redis.farewell";

/// Farewells that a forwarder remembers; each counts for a second.
const REMEMBERED: usize = 32;

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

    /// Hands all forwarding over to other processes: what came in is pushed, and nothing more is taken.
    pub(in super::super) async fn close(&self, bus: &Arc<Bus>, links: &[Link]) {
        let deadline = Instant::now() + bus.patience();
        join_all(self.drain().into_iter().map(async |(channel, mut forwarder)| {
            let farewell = timeout_at(deadline, say_farewell(bus, links, &channel)).await;
            let said = matches!(farewell, Ok(Ok(())));
            if !said || timeout_at(deadline, &mut forwarder).await.is_err() {
                tracing::debug!(%channel, said, "could not forward all");
                forwarder.abort();
            }
            if let Err(fault) = store::release(bus, links, &channel).await {
                tracing::debug!(%channel, %fault, "could not hand over to another process");
            }
        }))
        .await;
    }

    /// Ends all forwarding at once.
    pub(in super::super) fn abort(&self) {
        self.drain().into_iter().for_each(|(_, forwarder)| forwarder.abort());
    }

    fn drain(&self) -> HashMap<ChannelName, JoinHandle<()>> {
        std::mem::take(&mut *self.forwarders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// To all who forward to this channel, by every way that a group's messages may take.
async fn say_farewell(bus: &Bus, links: &[Link], channel: &ChannelName) -> Result<()> {
    let farewell = Message::new(FAREWELL).with("node", bus.node_name.as_str());
    let to = Target::Channel(channel.clone());
    let envelope = bus.envelope(bus.next_number(), &to, Some(&farewell))?;
    try_join_all(links.iter().map(|link| link.publish(bus.keys.control(), envelope.clone()))).await?;
    Ok(())
}

/// Until the channel is in no group any more, or this process has said farewell.
async fn forward(bus: Arc<Bus>, mut mailbox: Mailbox) {
    let lifetime = bus.config.layer.group_expiry;
    let mut sweep = interval((lifetime / 4).clamp(Duration::from_millis(10), SWEEP));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.tick().await; // the first comes at once, when the channel is in no group yet
    let mut past = Past::default();
    loop {
        tokio::select! {
            message = mailbox.recv() => {
                let Some(links) = bus.links() else { return };
                match farewell_of(&message) {
                    Some(node) if past.note(node, links.len()) && node == bus.node_name => return,
                    Some(_) => {}
                    None => push(&bus, &links, mailbox.channel(), &message, &past).await,
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

async fn push(bus: &Bus, links: &[Link], channel: &ChannelName, message: &Message, past: &Past) {
    match store::push(bus, links, channel, message, As::Forwarder { past: &past.nodes }).await {
        Ok(()) => {}
        Err(Error::ChannelFull { .. }) => bus.counters.one(Count::Full),
        Err(error) => tracing::debug!(%channel, %error, "could not forward"),
    }
}

fn farewell_of(message: &Message) -> Option<&str> {
    (message.event_type() == Some(FAREWELL)).then(|| message.get("node")?.as_str()).flatten()
}

/// The farewells that came in so far.
#[derive(Debug, Default)]
struct Past {
    /// Those that came by every way, one after the other.
    nodes: String,
    /// How many each one has come by, the newest last.
    ways: VecDeque<(String, usize)>,
}

impl Past {
    /// True once it has come by all ways.
    fn note(&mut self, node: &str, ways: usize) -> bool {
        let at = self.ways.iter().position(|(known, _)| known == node);
        let came_by = at.and_then(|at| self.ways.remove(at)).map_or(1, |(_, ways)| ways + 1);
        self.ways.push_back((node.to_owned(), came_by));
        if self.ways.len() > REMEMBERED {
            self.ways.pop_front();
        }
        let complete = self.ways.iter().filter(|(_, came_by)| *came_by >= ways);
        self.nodes = complete.map(|(node, _)| node.as_str()).collect::<Vec<_>>().join(" ");
        came_by >= ways
    }
}
