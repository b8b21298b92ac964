//! Named channels in groups: a process that added one subscribes to the group and forwards its messages to the queue.
//!
//! Several processes may have added the same channel. One of them forwards, as long as it renews its lease by doing so.
//! The queue decides, so that each message is forwarded once.
//!
//! # Handover
//! A process that closes publishes a farewell in the stream of messages, to all processes and to itself. It forwards the
//! messages before it, the others forward those after it: a process that is late or early neither loses a message nor
//! forwards one twice. Messages by several shards have no common order, so there it holds for each shard about.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{join_all, try_join_all};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};

use super::{
    counters::Count,
    engine::{Engine, Names},
    envelope::Target,
    error::LinkError,
    queues::Role,
    sending,
    shard::Shard,
};
use crate::{
    error::{Error, Result},
    mailbox::{Bounds, Mailbox},
    message::Message,
    name::{ChannelName, GroupName},
};

/// The bounds of the messages that wait to be forwarded. The queue has a capacity of its own.
const BOUNDS: Bounds = Bounds { messages: 4096, bytes: 16 << 20 };

/// The longest interval of the search for memberships that were not renewed; shorter if they expire sooner.
const SWEEP: Duration = Duration::from_secs(30);

/// The type of the message that ends the forwarding of one process. It goes to the forwarders of a channel, never
/// further.
const FAREWELL: &str = "channel_layer.farewell";

/// Farewells that a forwarder remembers. Each counts for a second.
const REMEMBERED: usize = 32;

/// The named channels that this process forwards to.
#[derive(Debug, Default)]
pub(super) struct Forwarders {
    /// Held for a map access.
    tasks: Mutex<HashMap<ChannelName, JoinHandle<()>>>,
}

impl Forwarders {
    /// Adds a named channel to a group, or renews its membership.
    pub(super) async fn join(
        &self,
        engine: &Arc<Engine>,
        shards: &[Shard],
        group: &GroupName,
        channel: &ChannelName,
    ) -> Result<()> {
        loop {
            self.start(engine, channel);
            if engine.join(shards, group, channel).await? {
                return Ok(());
            }
            // The channel was in no group any more, and its forwarder has just ended: another one.
            tokio::task::yield_now().await;
        }
    }

    /// Starts to forward to a channel, if no task does.
    fn start(&self, engine: &Arc<Engine>, channel: &ChannelName) {
        let Some(mailbox) = engine.hub.open(channel.clone(), BOUNDS) else { return };
        let task = tokio::spawn(forward(engine.clone(), mailbox));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|_, task| !task.is_finished());
        tasks.insert(channel.clone(), task);
    }

    /// Hands all forwarding over to other processes: the messages that came in are pushed, and no more are taken.
    pub(super) async fn close(&self, engine: &Engine, shards: &[Shard]) {
        let deadline = Instant::now() + engine.patience();
        join_all(self.drain().into_iter().map(async |(channel, mut task)| {
            let farewell = timeout_at(deadline, publish_farewell(engine, shards, &channel)).await;
            let is_published = matches!(farewell, Ok(Ok(())));
            if !is_published || timeout_at(deadline, &mut task).await.is_err() {
                tracing::debug!(%channel, is_published, "could not forward all messages");
                task.abort();
            }
            if let Err(error) = release(engine, shards, &channel).await {
                tracing::debug!(%channel, %error, "could not hand over to another process");
            }
        }))
        .await;
    }

    fn drain(&self) -> HashMap<ChannelName, JoinHandle<()>> {
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Forwarders {
    fn drop(&mut self) {
        self.drain().into_values().for_each(|task| task.abort());
    }
}

/// Publishes to all forwarders of this channel, by every way that a group's messages may take.
async fn publish_farewell(engine: &Engine, shards: &[Shard], channel: &ChannelName) -> Result<()> {
    let Names::Own(topics) = &engine.names else { return Ok(()) };
    let farewell = Message::new(FAREWELL).with("process", engine.process.as_str());
    let target = Target::Channel(channel.clone());
    let envelope = engine.envelope(engine.next_number(), &target, Some(&farewell))?;
    let topic = topics.everyone();
    try_join_all(shards.iter().map(|shard| shard.publish(&topic, &envelope))).await?;
    Ok(())
}

async fn release(engine: &Engine, shards: &[Shard], channel: &ChannelName) -> Result<(), LinkError> {
    let link = engine.shard(shards, channel.as_str()).link()?;
    let Some(queues) = link.queues() else { return Ok(()) };
    let limit = engine.patience();
    let released = timeout(limit, queues.release(channel, &engine.process)).await;
    Ok(released.map_err(|_| LinkError::Deadline(limit))??)
}

/// Forwards until the channel is in no group any more, or the farewell of this process has come in.
async fn forward(engine: Arc<Engine>, mut mailbox: Mailbox) {
    let lifetime = engine.options.layer.group_expiry;
    let mut sweep = interval((lifetime / 4).clamp(Duration::from_millis(10), SWEEP));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.tick().await; // the first comes at once, when the channel is in no group yet
    let mut past = Past::default();
    loop {
        tokio::select! {
            message = mailbox.recv() => {
                let Some(shards) = engine.shards() else { return };
                match farewell_of(&message) {
                    Some(process) if past.note(process, shards.len()) && process == engine.process => return,
                    Some(_) => {}
                    None => push(&engine, &shards, mailbox.channel(), &message, &past).await,
                }
            }
            _ = sweep.tick() => {
                let stale = Instant::now().checked_sub(lifetime);
                if stale.is_some_and(|then| engine.hub.leave_stale(mailbox.channel(), then)) {
                    return;
                }
            }
        }
    }
}

async fn push(engine: &Engine, shards: &[Shard], channel: &ChannelName, message: &Message, past: &Past) {
    let role = Role::Forwarder { process: &engine.process, past: &past.processes };
    match sending::to_queue(engine, shards, channel, message, role).await {
        Ok(_) => {}
        Err(Error::ChannelFull { .. }) => engine.counters.one(Count::Full),
        Err(error) => tracing::debug!(%channel, %error, "could not forward a message"),
    }
}

fn farewell_of(message: &Message) -> Option<&str> {
    (message.event_type() == Some(FAREWELL)).then(|| message.get("process")?.as_str()).flatten()
}

/// The farewells that have come in.
#[derive(Debug, Default)]
struct Past {
    /// The processes whose farewells came by every shard, separated by spaces.
    processes: String,
    /// The number of shards that each farewell came by, the newest last.
    arrivals: VecDeque<(String, usize)>,
}

impl Past {
    /// Notes a farewell. Returns whether it has come by all shards.
    fn note(&mut self, process: &str, shards: usize) -> bool {
        let at = self.arrivals.iter().position(|(known, _)| known == process);
        let count = at.and_then(|at| self.arrivals.remove(at)).map_or(1, |(_, count)| count + 1);
        self.arrivals.push_back((process.to_owned(), count));
        if self.arrivals.len() > REMEMBERED {
            self.arrivals.pop_front();
        }
        let complete = self.arrivals.iter().filter(|(_, count)| *count >= shards);
        self.processes = complete.map(|(process, _)| process.as_str()).collect::<Vec<_>>().join(" ");
        count >= shards
    }
}

#[cfg(test)]
mod tests;
