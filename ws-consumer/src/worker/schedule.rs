//! Delayed messages.

use std::{sync::Arc, time::Duration};

use channel_layer::{Audience, Causes, ChannelLayer, ChannelLayerExt, ChannelName, GroupName, Message};
use serde::Serialize;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::error::{Error, Result};

/// The default number of waiting messages: a few megabytes.
const DEFAULT_CAPACITY: usize = 10_000;

/// Sends messages after a delay.
///
/// Messages wait in this process and are lost with it. For messages that must not be lost, keep a record in a database. A
/// connection that sends to itself has [timers](crate::Context::send_after), which end with it.
#[derive(Clone, Debug)]
pub struct Scheduler {
    layer: Arc<dyn ChannelLayer>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// A waiting message. Dropping the handle does not cancel it.
#[derive(Clone, Debug)]
pub struct Scheduled(CancellationToken);

impl Scheduled {
    /// Cancels the message if it has not been sent.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

enum Target {
    Channel(ChannelName),
    Group(GroupName),
}

impl Scheduler {
    /// Creates a scheduler for up to 10,000 waiting messages.
    pub fn new(layer: impl ChannelLayer) -> Self {
        Self::with_capacity(layer, DEFAULT_CAPACITY)
    }

    /// Creates a scheduler for up to `most` waiting messages.
    pub fn with_capacity(layer: impl ChannelLayer, most: usize) -> Self {
        let layer = layer.into_shared();
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { layer, places, tasks: TaskTracker::new(), closing: CancellationToken::new() }
    }

    /// Sends an event to a channel after this time.
    ///
    /// # Errors
    /// The name is invalid, the event is no map, or too many messages wait.
    pub fn send_after<N, T>(&self, delay: Duration, channel: N, event: &T) -> Result<Scheduled>
    where
        N: TryInto<ChannelName, Error: Into<channel_layer::Error>>,
        T: Serialize + ?Sized,
    {
        let channel = channel.try_into().map_err(|error| Error::Layer(error.into()))?;
        self.after(delay, Target::Channel(channel), Message::encode(event)?)
    }

    /// Sends an event to a group after this time.
    ///
    /// # Errors
    /// Those of [`send_after`](Self::send_after).
    pub fn group_send_after<N, T>(&self, delay: Duration, group: N, event: &T) -> Result<Scheduled>
    where
        N: TryInto<GroupName, Error: Into<channel_layer::Error>>,
        T: Serialize + ?Sized,
    {
        let group = group.try_into().map_err(|error| Error::Layer(error.into()))?;
        self.after(delay, Target::Group(group), Message::encode(event)?)
    }

    /// The number of waiting messages.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the scheduler and drops the waiting messages. Returns their number.
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
        tracing::warn!(error = %Causes(&error), "a delayed message was not sent");
    }
}
