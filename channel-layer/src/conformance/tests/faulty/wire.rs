//! Faults below the layer: on the way of messages, and of subscriptions.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Fault, arrivals::Arrivals, queues::FaultyQueues};
use crate::{
    backbone::{
        Backbone, BackboneLink, Inbound, Queues, Subscription,
        bus::{Bus, BusBackbone},
    },
    config::LayerConfig,
    error::{Error, Result},
    name::GroupName,
    sync::{Mutex, MutexGuard, lock},
};

/// The time after which a subscription that was confirmed early is in effect.
const LATE: Duration = Duration::from_millis(40);

/// The connection of one process, as its faults see it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) fault: Option<Fault>,
    pub(super) config: LayerConfig,
    /// The number of the process, once it is known.
    pub(super) process: AtomicU64,
    /// The number of messages that came in, or were taken from queues.
    pub(super) count: AtomicU64,
    connections: AtomicUsize,
    bus: Bus,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Weak, because dropping the link ends the connection.
    link: Option<Weak<dyn BackboneLink>>,
    /// The topics that were ever subscribed to.
    known: HashSet<String>,
    /// The topics that a member has left, rather than been dropped from.
    left: HashSet<String>,
    /// The topics whose subscription a fault has ended.
    ended: HashSet<String>,
    /// Connections that are never closed.
    kept: Vec<Arc<dyn BackboneLink>>,
}

impl Wire {
    pub(super) fn new(fault: Option<Fault>, config: LayerConfig, bus: &Bus) -> Arc<Self> {
        Arc::new(Self {
            fault,
            config,
            process: AtomicU64::default(),
            count: AtomicU64::default(),
            connections: AtomicUsize::default(),
            bus: bus.clone(),
            state: Mutex::default(),
        })
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Whether this message is the last of the given number.
    pub(super) fn every(&self, count: u64) -> bool {
        self.count.fetch_add(1, Relaxed) % count == count - 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn link(&self) -> Option<Arc<dyn BackboneLink>> {
        self.state().link.as_ref()?.upgrade()
    }

    /// Ends the subscription to a group behind the layer's back.
    pub(super) async fn unsubscribe_now(&self, group: &GroupName) {
        self.state().ended.insert(topic(group));
        if let Some(link) = self.link() {
            let _ = link.unsubscribe(&topic(group)).await;
        }
    }

    /// Makes a subscription again that was ended behind the layer's back.
    pub(super) async fn subscribe_again(&self, group: &GroupName) {
        let was_ended = self.state().ended.remove(&topic(group));
        if let Some(link) = self.link().filter(|_| was_ended) {
            let _ = link.subscribe(&topic(group)).await;
        }
    }

    /// Notes that a member has left the group by a call.
    pub(super) fn may_unsubscribe(&self, group: &GroupName) {
        self.state().left.insert(topic(group));
    }

    /// Subscribes to an unneeded topic, until the leak ends.
    pub(super) fn leak(self: &Arc<Self>, name: &str) -> Leak {
        let (wire, topic) = (self.clone(), format!("leak:{name}"));
        let leak = Leak { wire: self.clone(), topic: topic.clone() };
        tokio::spawn(async move {
            if let Some(link) = wire.link() {
                let _ = link.subscribe(&topic).await;
            }
        });
        leak
    }

    pub(super) async fn clear_queues(&self) -> Result<()> {
        match self.link().as_ref().and_then(|link| link.queues()) {
            Some(queues) => queues.clear().await,
            None => Ok(()),
        }
    }

    /// Makes a connection that is never ended.
    pub(super) async fn keep_connection(&self) {
        if let Ok(link) = self.bus.backbone().connect().await {
            self.state().kept.push(link);
        }
    }

    /// Breaks all connections, as a server does that is sent too much.
    pub(super) fn break_link(&self) {
        self.bus.sever();
        self.bus.mend();
    }
}

/// An unneeded subscription.
pub(super) struct Leak {
    wire: Arc<Wire>,
    topic: String,
}

impl Leak {
    pub(super) fn end(self) {
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            if let Some(link) = self.wire.link() {
                let _ = link.unsubscribe(&self.topic).await;
            }
        });
    }
}

/// The topic of a group, as the engine names it.
fn topic(group: &GroupName) -> String {
    format!("channels:g:{group}")
}

#[derive(Debug)]
pub(super) struct FaultyBackbone {
    bus: BusBackbone,
    wire: Arc<Wire>,
}

impl FaultyBackbone {
    pub(super) fn new(bus: &Bus, wire: &Arc<Wire>) -> Self {
        Self { bus: bus.backbone(), wire: wire.clone() }
    }
}

#[async_trait]
impl Backbone for FaultyBackbone {
    async fn connect(&self) -> Result<Arc<dyn BackboneLink>> {
        let inner = self.bus.connect().await?;
        let is_first = self.wire.connections.fetch_add(1, Relaxed) == 0;
        self.wire.state().link = Some(Arc::downgrade(&inner));
        if self.wire.has(Fault::LosesStoredMessages) && !is_first {
            self.wire.clear_queues().await?;
        }
        let queues = FaultyQueues::new(inner.clone(), self.wire.clone());
        let arrivals = Arrivals::new(self.wire.clone());
        Ok(Arc::new(FaultyLink {
            inner,
            wire: self.wire.clone(),
            queues,
            arrivals,
            ready: Mutex::default(),
            resuming: AtomicBool::new(!is_first),
        }))
    }
}

#[derive(Debug)]
struct FaultyLink {
    inner: Arc<dyn BackboneLink>,
    wire: Arc<Wire>,
    queues: FaultyQueues,
    arrivals: Arrivals,
    /// Messages that have come in.
    ready: Mutex<VecDeque<Inbound>>,
    /// Whether the engine makes its subscriptions again after an outage.
    resuming: AtomicBool,
}

impl FaultyLink {
    fn subscribe_later(&self, topic: &str, after: Duration) {
        let (inner, topic) = (self.inner.clone(), topic.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = inner.subscribe(&topic).await;
        });
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BackboneLink for FaultyLink {
    async fn publish(&self, topic: &str, bytes: Bytes) -> Result<Option<usize>> {
        self.inner.publish(topic, bytes).await
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        if let Some(process) = topic.strip_prefix("channels:n:") {
            self.wire.process.store(u64::from_str_radix(process, 16).unwrap_or_default(), Relaxed);
        }
        let (is_group, resuming) = (topic.contains(":g:"), self.resuming.load(Relaxed));
        let is_known = !self.wire.state().known.insert(topic.to_owned());
        match self.wire.fault {
            Some(Fault::LosesMemberships) if is_group && resuming && is_known => {}
            Some(Fault::SkipsTopicsOfOutages) if is_group && resuming && !is_known => {}
            Some(Fault::ReconnectsEarly) if is_group && resuming => self.subscribe_later(topic, LATE * 10),
            Some(Fault::ConfirmsEarly) if is_group => self.subscribe_later(topic, LATE),
            _ => return self.inner.subscribe(topic).await,
        }
        Ok(Subscription::Confirmed)
    }

    async fn unsubscribe(&self, topic: &str) -> Result<()> {
        let has_left = self.wire.state().left.contains(topic);
        match self.wire.fault {
            Some(Fault::StaysSubscribed) => Ok(()),
            Some(Fault::StaysSubscribedForDropped) if !has_left => Ok(()),
            _ => self.inner.unsubscribe(topic).await,
        }
    }

    async fn next(&self) -> Result<Inbound> {
        loop {
            let ready = lock(&self.ready).pop_front();
            if let Some(inbound) = ready {
                return Ok(inbound);
            }
            let inbound = self.inner.next().await?;
            let arrived = self.arrivals.apply(inbound);
            lock(&self.ready).extend(arrived);
        }
    }

    async fn subscribe_shared(&self, topic: &str) -> Result<Subscription> {
        self.inner.subscribe_shared(topic).await
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn publish_all(&self, batch: &crate::backbone::Batch) -> Result<Vec<Result<Option<usize>>>> {
        self.inner.publish_all(batch).await
    }

    async fn subscribe_all(&self, topics: &[String]) -> Result<Vec<Result<Subscription>>> {
        let mut answers = Vec::new();
        for topic in topics {
            answers.push(self.subscribe(topic).await);
        }
        Ok(answers)
    }

    async fn unsubscribe_all(&self, topics: &[String]) -> Result<()> {
        for topic in topics {
            self.unsubscribe(topic).await?;
        }
        Ok(())
    }

    fn attach(&self, sink: crate::backbone::InboundSink) -> bool {
        self.inner.attach(sink)
    }

    async fn restore(&self) -> Result<()> {
        self.resuming.store(false, Relaxed);
        self.inner.restore().await
    }

    fn queues(&self) -> Option<&dyn Queues> {
        self.inner.queues().is_some().then_some(&self.queues as &dyn Queues)
    }
}

/// The error of a link without queues.
pub(super) fn no_queues() -> Error {
    Error::Unsupported("queues")
}
