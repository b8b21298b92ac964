//! A link of the bus.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    super::{
        link::{BackboneLink, Inbound, Subscription},
        queues::Queues,
    },
    queues::BusQueues,
    state::{BusState, Inbox, SharedBus},
};
use crate::error::Result;

#[derive(Debug)]
pub(super) struct BusLink {
    bus: Arc<SharedBus>,
    number: u64,
    inbox: Arc<Inbox>,
    /// `None` if the bus had no queues when the link was made.
    queues: Option<BusQueues>,
}

impl BusLink {
    pub(super) fn new(bus: Arc<SharedBus>, number: u64, inbox: Arc<Inbox>) -> Self {
        let queues = bus.state().options.queues.then(|| BusQueues::new(bus.clone(), number));
        Self { bus, number, inbox, queues }
    }

    /// Acts on the bus, once it answers.
    async fn on_bus<T>(&self, act: impl FnOnce(&mut BusState) -> T) -> Result<T> {
        self.bus.thaw().await;
        let mut state = self.bus.state();
        state.check(self.number)?;
        Ok(act(&mut state))
    }
}

#[async_trait]
impl BackboneLink for BusLink {
    async fn publish(&self, topic: &str, bytes: Bytes) -> Result<Option<usize>> {
        self.on_bus(|state| {
            let reached = state.deliver(topic, &bytes);
            state.options.counts.then_some(reached)
        })
        .await
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        self.on_bus(|state| {
            state.topics.entry(topic.to_owned()).or_default().insert(self.number);
            if state.options.acknowledges { Subscription::Confirmed } else { Subscription::Pending }
        })
        .await
    }

    async fn unsubscribe(&self, topic: &str) -> Result<()> {
        self.on_bus(|state| {
            let BusState { topics, shared, .. } = state;
            if let Some(links) = topics.get_mut(topic) {
                links.remove(&self.number);
            }
            if let Some(links) = shared.get_mut(topic) {
                links.retain(|link| *link != self.number);
            }
        })
        .await
    }

    async fn next(&self) -> Result<Inbound> {
        loop {
            let arrived = self.inbox.arrived.notified();
            let changed = self.bus.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // before the check, so that no change in between is missed
            self.bus.thaw().await;
            self.bus.state().check(self.number)?;
            if let Some(inbound) = self.inbox.pop() {
                return Ok(inbound);
            }
            tokio::select! {
                () = arrived => {}
                () = changed => {}
            }
        }
    }

    async fn subscribe_shared(&self, topic: &str) -> Result<Subscription> {
        self.on_bus(|state| {
            state.shared.entry(topic.to_owned()).or_default().push(self.number);
            Subscription::Confirmed
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.on_bus(|_| ()).await
    }

    fn queues(&self) -> Option<&dyn Queues> {
        Some(self.queues.as_ref()?)
    }
}

impl Drop for BusLink {
    fn drop(&mut self) {
        self.bus.state().forget(self.number);
    }
}
