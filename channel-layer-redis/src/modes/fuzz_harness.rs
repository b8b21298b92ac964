//! A bus within the process that delivers forged messages.

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use channel_layer::{
    ChannelLayer, ChannelName, GroupName, LayerConfig, MailboxOptions, Result,
    backbone::{Backbone, BackboneLink, HubLayer, Inbound, InboundSink, Subscription},
};
use tokio::task::yield_now;

use crate::sync::lock;

/// A bus with one process. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct FuzzBus(Arc<Mutex<Option<InboundSink>>>);

impl FuzzBus {
    fn deliver(&self, topic: &str, payload: &[u8]) {
        let sink = lock(&self.0).clone();
        if let Some(sink) = sink {
            sink.deliver(topic, payload);
        }
    }
}

#[async_trait]
impl Backbone for FuzzBus {
    async fn connect(&self) -> Result<Arc<dyn BackboneLink>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl BackboneLink for FuzzBus {
    async fn publish(&self, topic: &str, bytes: Bytes) -> Result<Option<usize>> {
        self.deliver(topic, &bytes);
        Ok(Some(1))
    }

    async fn subscribe(&self, _: &str) -> Result<Subscription> {
        Ok(Subscription::Confirmed)
    }

    async fn unsubscribe(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn next(&self) -> Result<Inbound> {
        pending().await
    }

    fn attach(&self, sink: InboundSink) -> bool {
        *lock(&self.0) = Some(sink);
        true
    }
}

/// Delivers forged messages to a process with a mailbox and a named channel in a group. `topic` chooses the topic of each,
/// given the name of the mailbox.
pub(super) async fn receive(
    bus: &FuzzBus,
    layer: &HubLayer<FuzzBus>,
    forged: impl Iterator<Item = (u8, Vec<u8>)>,
    topic: impl Fn(&ChannelName, u8, &[u8]) -> String,
) {
    while !layer.is_connected() {
        yield_now().await;
    }
    let mut mailbox = layer.open(MailboxOptions::default()).await.expect("it is connected");
    let group = GroupName::new("room").expect("a name");
    let jobs = ChannelName::new("jobs").expect("a name");
    let bounds = LayerConfig::default().bounds_of(&jobs);
    let mut named = layer.hub().open(jobs.clone(), bounds).expect("it is the first");
    for member in [mailbox.channel(), &jobs] {
        layer.group_add(&group, member).await.expect("it is connected");
    }
    for (choice, payload) in forged {
        bus.deliver(&topic(mailbox.channel(), choice, &payload), &payload);
        yield_now().await; // to the tasks that it has started
    }
    for mailbox in [&mut mailbox, &mut named] {
        while mailbox.try_recv().is_some() {}
        assert!(mailbox.sender().ledger().is_balanced());
    }
}
