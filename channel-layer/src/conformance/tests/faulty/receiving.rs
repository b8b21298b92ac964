//! Faults of `receive`.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::sync::broadcast;

use super::{Fault, Faulty, world::World};
use crate::{
    error::{Error, Result},
    layer::ChannelLayer,
    message::Message,
    name::ChannelName,
};

/// A receiver that waits, counted for as long as it does.
struct Waiting {
    world: Arc<World>,
    channel: ChannelName,
}

impl Waiting {
    /// Returns the number of those that wait already, too.
    fn begin(world: &Arc<World>, channel: &ChannelName) -> (Self, usize) {
        let mut state = world.state();
        let receivers = state.receivers.entry(channel.clone()).or_default();
        *receivers += 1;
        let others = *receivers - 1;
        drop(state);
        (Self { world: world.clone(), channel: channel.clone() }, others)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(receivers) = self.world.state().receivers.get_mut(&self.channel) {
            *receivers -= 1;
        }
    }
}

impl Faulty {
    pub(super) async fn receive_from(&self, channel: &ChannelName) -> Result<Message> {
        let (waiting, others) = Waiting::begin(&self.world, channel);
        let outages = self.world.outages();
        let message = match self.fault {
            Some(Fault::WakesTheFirst) if others > 0 => pending().await,
            Some(Fault::ReceivesFromMailboxes) if channel.is_process_local() => pending().await,
            Some(Fault::KeepsNamedAtHome) if !channel.is_process_local() => {
                self.layer.receive(&self.at_home(channel)).await
            }
            Some(Fault::ReceivesForCancelled) => {
                let (layer, channel) = (self.layer.clone(), channel.clone());
                let task = tokio::spawn(async move { layer.receive(&channel).await });
                task.await.unwrap_or(Err(Error::Closed))
            }
            Some(Fault::CopiesToReceivers) => self.receive_copy(channel).await,
            Some(Fault::EndsReceiversInOutages) => {
                tokio::select! {
                    message = self.layer.receive(channel) => message,
                    () = self.until_away() => Err(Error::Unavailable("it is away".into())),
                }
            }
            Some(Fault::StaysSubscribedForReceivers) => {
                let leak = self.wire.leak(channel.as_str());
                let message = self.layer.receive(channel).await;
                leak.end();
                message
            }
            _ => self.layer.receive(channel).await,
        };
        drop(waiting);
        match (self.fault, message) {
            (Some(Fault::KeepsReceiversWaiting), Err(Error::Closed)) => pending().await,
            (Some(Fault::ForgetsReceiversInOutages), _) if self.world.outages() > outages => pending().await,
            (Some(Fault::LosesWhatIsCancelled), message) => {
                tokio::time::sleep(Duration::from_millis(3)).await;
                message
            }
            (_, message) => message,
        }
    }

    async fn until_away(&self) {
        while !self.is_away() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.world.outages() == 0 {
            pending::<()>().await; // it was closed
        }
    }

    /// Receives a message, or a copy of the message for another receiver.
    async fn receive_copy(&self, channel: &ChannelName) -> Result<Message> {
        let copies = {
            let mut state = self.world.state();
            state.received.entry(channel.clone()).or_insert_with(|| broadcast::Sender::new(64)).clone()
        };
        let mut others = copies.subscribe();
        tokio::select! {
            copy = others.recv() => copy.map_err(|_| Error::Closed),
            message = self.layer.receive(channel) => {
                let message = message?;
                let _ = copies.send(message.clone());
                Ok(message)
            }
        }
    }
}
