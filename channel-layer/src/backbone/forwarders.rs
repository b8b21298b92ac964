//! Named channels in groups. A process that added one subscribes to the group, and forwards its messages to the queue.
//!
//! Several processes may have added the same channel, even to different groups. Each forwards the messages it receives
//! with the id of the envelope, and the queue takes the first push of an id. So no message is lost or forwarded twice,
//! whichever process ends or is late, and the order is that of the group.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use super::{
    counters::Count,
    engine::{Engine, EnvelopeId},
    sending,
    shard::Shard,
};
use crate::{
    error::{Error, Result},
    mailbox::{Bounds, Mailbox},
    message::Message,
    name::{ChannelName, GroupName},
    sync::{Mutex, lock},
};

/// The bounds of the messages waiting to be forwarded. The queue has a separate capacity.
const BOUNDS: Bounds = Bounds { messages: 4096, bytes: 16 << 20 };

/// The longest interval of the search for memberships that were not renewed; shorter if they expire sooner.
const SWEEP: Duration = Duration::from_secs(30);

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
            // The channel had left its last group, and its forwarder has just ended: start another one.
            tokio::task::yield_now().await;
        }
    }

    /// Starts to forward to a channel, if no task does.
    fn start(&self, engine: &Arc<Engine>, channel: &ChannelName) {
        let Some(mailbox) = engine.hub.open(channel.clone(), BOUNDS) else { return };
        engine.forwards.store(true, Relaxed);
        let task = tokio::spawn(forward(engine.clone(), mailbox));
        let mut tasks = lock(&self.tasks);
        tasks.retain(|_, task| !task.is_finished());
        tasks.insert(channel.clone(), task);
    }

    /// Pushes the messages already received, and ends all forwarding. The layer is closed by now.
    pub(super) async fn close(&self, engine: &Engine) {
        let deadline = Instant::now() + engine.call_timeout();
        join_all(self.drain().into_iter().map(async |(channel, mut task)| {
            if timeout_at(deadline, &mut task).await.is_err() {
                tracing::debug!(%channel, "could not forward all messages");
                task.abort();
            }
        }))
        .await;
    }

    fn drain(&self) -> HashMap<ChannelName, JoinHandle<()>> {
        std::mem::take(&mut *lock(&self.tasks))
    }
}

impl Drop for Forwarders {
    fn drop(&mut self) {
        self.drain().into_values().for_each(|task| task.abort());
    }
}

/// Forwards until the channel has left all groups, or the layer is closed.
async fn forward(engine: Arc<Engine>, mut mailbox: Mailbox) {
    let lifetime = engine.options.layer.group_expiry;
    let mut sweep = interval((lifetime / 4).clamp(Duration::from_millis(10), SWEEP));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.tick().await; // the first tick is immediate, before the channel is in a group
    let mut closed = engine.closed.subscribe();
    loop {
        tokio::select! {
            biased;
            message = mailbox.recv() => {
                let Some(shards) = engine.shards() else { return };
                push(&engine, &shards, mailbox.channel(), &message).await;
            }
            () = until(&mut closed) => return,
            _ = sweep.tick() => {
                let stale = Instant::now().checked_sub(lifetime);
                if stale.is_some_and(|then| engine.hub.leave_stale(mailbox.channel(), then)) {
                    return;
                }
            }
        }
    }
}

async fn until(closed: &mut watch::Receiver<bool>) {
    let _ = closed.wait_for(|closed| *closed).await; // or its sender is gone
}

async fn push(engine: &Engine, shards: &[Shard], channel: &ChannelName, message: &Message) {
    let EnvelopeId(once) = *message.derived(|_| EnvelopeId(None));
    match sending::to_queue(engine, shards, channel, message, once).await {
        Ok(()) => {}
        Err(Error::ChannelFull { .. }) => engine.counters.one(Count::Full),
        Err(error) => tracing::debug!(%channel, %error, "could not forward a message"),
    }
}

#[cfg(test)]
mod tests;
