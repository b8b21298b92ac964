//! Messages for later.

use std::{sync::Arc, time::Duration};

use channel_layer::{Audience, Causes, ChannelLayer, ChannelName, GroupName, Message};
use serde::Serialize;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::error::{Error, Result};

/// Messages that wait at once, if not told otherwise: a few megabytes.
const WAITING: usize = 10_000;

/// Sends messages later.
///
/// They wait in this process and are gone with it. For what must not be forgotten, keep a note in a database and send
/// it from there.
#[derive(Clone, Debug)]
pub struct Scheduler {
    layer: Arc<dyn ChannelLayer>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// A message that waits to be sent. Dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct Scheduled(CancellationToken);

impl Scheduled {
    /// Takes it back, if it has not been sent.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

enum Target {
    Channel(ChannelName),
    Group(GroupName),
}

impl Scheduler {
    /// For up to 10,000 messages at once.
    pub fn new(layer: Arc<dyn ChannelLayer>) -> Self {
        Self::with_capacity(layer, WAITING)
    }

    /// For up to so many messages at once.
    pub fn with_capacity(layer: Arc<dyn ChannelLayer>, most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { layer, places, tasks: TaskTracker::new(), closing: CancellationToken::new() }
    }

    /// Sends an event to a channel after this time.
    ///
    /// # Errors
    /// An event that is no map; too many that wait.
    pub fn send_after<T>(&self, delay: Duration, channel: &ChannelName, event: &T) -> Result<Scheduled>
    where
        T: Serialize + ?Sized,
    {
        self.after(delay, Target::Channel(channel.clone()), Message::encode(event)?)
    }

    /// Sends an event to a group after this time.
    ///
    /// # Errors
    /// An event that is no map; too many that wait.
    pub fn group_send_after<T>(&self, delay: Duration, group: &GroupName, event: &T) -> Result<Scheduled>
    where
        T: Serialize + ?Sized,
    {
        self.after(delay, Target::Group(group.clone()), Message::encode(event)?)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Does none wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes no more, and drops those that wait. Returns how many those were.
    pub async fn close(&self) -> usize {
        let dropped = self.len();
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        dropped
    }

    fn after(&self, delay: Duration, target: Target, message: Message) -> Result<Scheduled> {
        let full = |_| Error::other("too many messages wait to be sent later");
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        if self.closing.is_cancelled() {
            return Err(Error::other("the scheduler is closed"));
        }
        let (layer, cancelled) = (self.layer.clone(), self.closing.child_token());
        let scheduled = Scheduled(cancelled.clone());
        self.tasks.spawn(async move {
            if cancelled.run_until_cancelled(sleep(delay)).await.is_some() {
                send(&*layer, target, message).await;
            }
            drop(place);
        });
        Ok(scheduled)
    }
}

async fn send(layer: &dyn ChannelLayer, target: Target, message: Message) {
    let sent = match target {
        Target::Channel(channel) => layer.send(&channel, message).await,
        Target::Group(group) => layer.group_send(&Audience::from(group), message).await.map(|_| ()),
    };
    if let Err(error) = sent {
        tracing::warn!(error = %Causes(&error), "a message of before was not sent");
    }
}
