//! The connection to one server, maintained through outages.
//!
//! # Reconnect
//! The first attempt is immediate. Later ones follow after pauses that double up to a second, with full jitter,
//! without an end. A new link is used once every topic is subscribed to again and confirmed, and a probe has come back
//! through it.
//!
//! # Faults
//! The end of a link is detected at once. The heartbeat detects a silent link. The probe, which takes the path of every
//! message, detects a server that accepts messages without delivering them.
//!
//! # Cancel safety
//! A queued message is sent, whether its caller still waits or not.
//!
//! # Uncertainty
//! A call that timed out, or whose link broke, may have taken effect. No call is repeated.

mod state;
mod supervise;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use self::state::ShardState;
use super::{
    counters::{Count, Counters},
    error::LinkError,
    handler::ShardHandler,
    link::{Backbone, BackboneLink},
    options::HubOptions,
    outbox::{BATCH, Outbox},
    publisher::Publisher,
    session::Context,
    subscriptions::Subscriptions,
};
use crate::events::EventSource;

/// The connection to one server of a layer. Dropping it ends it.
#[derive(Debug)]
pub struct Shard {
    shared: Arc<ShardState>,
    tasks: [JoinHandle<()>; 2],
}

impl Shard {
    /// Starts to connect, and reconnects until the shard is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        backbone: Arc<dyn Backbone>,
        handler: Arc<dyn ShardHandler>,
        options: HubOptions,
        counters: Arc<Counters>,
        events: Arc<EventSource>,
    ) -> Self {
        let options = options.bounded();
        let (limit, stamp) = (options.timeout, handler.stamp());
        let outbox = Arc::new(Outbox::new(BATCH, limit));
        let subscriptions = Subscriptions::new(options.linger);
        let context = Context { backbone, handler, options, counters: counters.clone(), subscriptions };
        let shared = Arc::new(ShardState::new(context, events, outbox.clone()));
        let supervisor = tokio::spawn(supervise::run(shared.clone()));
        let publisher = Publisher { outbox, session: shared.session.subscribe(), counters, limit, stamp };
        Self { shared, tasks: [supervisor, tokio::spawn(publisher.run())] }
    }

    /// Waits for the first session, or for the reason why there is none.
    ///
    /// # Errors
    /// The outcome of the first attempt to connect.
    pub async fn connected(&self) -> Result<(), LinkError> {
        let mut session = self.shared.session.subscribe();
        let mut last_error = self.shared.last_error.subscribe();
        let options = &self.shared.context.options;
        // Each step of opening a session, and one in reserve.
        let limit = options.connect_timeout * 3 + options.timeout * 8;
        let outcome = async {
            tokio::select! {
                biased;
                _ = session.wait_for(Option::is_some) => Ok(()),
                reason = last_error.wait_for(Option::is_some) => {
                    Err(reason.ok().and_then(|reason| reason.clone()).unwrap_or(LinkError::Closed))
                }
            }
        };
        timeout(limit, outcome).await.unwrap_or(Err(LinkError::Deadline(limit)))
    }

    /// Publishes a message. Returns the number of connections that took it, if the bus reports it.
    ///
    /// # Errors
    /// [`LinkError::is_unsent`] returns whether it was certainly not sent.
    pub async fn publish(&self, topic: &str, payload: &[u8]) -> Result<Option<usize>, LinkError> {
        let counters = &self.shared.context.counters;
        if !self.is_up() {
            counters.one(Count::PublishFailed);
            return Err(self.away());
        }
        let published = self.shared.outbox.publish(topic, payload).await;
        if matches!(published, Err(LinkError::QueueFull)) {
            counters.one(Count::PublishFailed); // other failures are counted where they are answered
        }
        published
    }

    /// Subscribes to a topic if necessary, and then runs `join`, which returns whether it added a member.
    ///
    /// During an outage it does not wait: the topic is recorded, and the next session is announced only once it is
    /// subscribed to. Before the first session it fails.
    pub async fn join(&self, topic: &str, join: impl FnOnce() -> bool) -> Result<(), LinkError> {
        // One timeout for a call in progress, one for this call.
        let limit = self.shared.context.options.call_timeout();
        let deadline = Instant::now() + limit;
        let hold = loop {
            if !self.is_known() {
                return Err(self.away());
            }
            let (hold, answer) = self.shared.context.subscriptions.acquire(topic);
            // Read after the topic was recorded: a session that has come up since has either seen it, or is seen here.
            let Some(answer) = answer.filter(|_| self.is_up()) else { break hold };
            let answer = timeout_at(deadline, answer).await.map_err(|_| LinkError::Deadline(limit))?;
            match answer.unwrap_or(Err(LinkError::Closed)) {
                Ok(()) => break hold,
                Err(error) if error.is_outage() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        };
        if join() {
            hold.joined();
        }
        Ok(())
    }

    /// Notes that a topic has lost its last member here. Its subscription ends after the linger. A shared one ends at
    /// once, because the bus would continue to choose this process.
    pub fn emptied(&self, topic: &str) {
        let context = &self.shared.context;
        context.subscriptions.emptied(topic, context.handler.is_shared(topic));
    }

    /// Whether messages of a topic come in.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.shared.context.subscriptions.is_live(topic)
    }

    /// The error of calls that fail because the server is away.
    pub fn away(&self) -> LinkError {
        self.shared.away()
    }

    /// Whether it has ever been connected.
    pub fn is_known(&self) -> bool {
        self.shared.known.load(Relaxed)
    }

    /// Whether it is connected.
    pub fn is_up(&self) -> bool {
        self.shared.up.load(Relaxed)
    }

    /// Measures the round trip of a message through the bus.
    ///
    /// # Errors
    /// The errors of [`publish`](Self::publish), and [`LinkError::Deadline`] if it does not come back.
    pub async fn round_trip(&self) -> Result<Duration, LinkError> {
        supervise::round_trip(&self.shared).await
    }

    /// The link in use.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn link(&self) -> Result<Arc<dyn BackboneLink>, LinkError> {
        self.shared.link.borrow().clone().ok_or_else(|| self.away())
    }

    /// Watches the link in use, `None` while there is none.
    pub fn links(&self) -> watch::Receiver<Option<Arc<dyn BackboneLink>>> {
        self.shared.link.subscribe()
    }

    /// Publishes the queued messages, and ends the link. Later calls fail with [`LinkError::Closed`].
    pub async fn close(&self) {
        if self.is_up()
            && let Some(probe) = self.shared.context.handler.probe(None)
        {
            // Last in the queue, so its answer means that all others were answered.
            let last = self.shared.outbox.publish(&probe.topic, &probe.payload);
            let _ = timeout(self.shared.context.options.call_timeout(), last).await; // the rest is lost with the link
        }
        self.end();
        // An aborted task keeps the link until the runtime has dropped it.
        while !self.tasks.iter().all(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    }

    fn end(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.outbox.close();
        self.shared.leave(&LinkError::Closed);
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.end();
    }
}
