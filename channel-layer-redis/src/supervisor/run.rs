//! The supervisor's own task: connect, watch, lose, connect again.

use std::{
    collections::HashSet,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use channel_layer::LayerEvent;
use futures_util::future::try_join;
use tokio::time::{Instant, sleep, timeout};

use super::{Shared, backoff::Backoff, panics::caught, session::Session, subscriptions::Changes};
use crate::{error::Fault, link::topology, stats::Count};

/// Warnings about one outage, at most: a server may say something else each time.
const TROUBLES: usize = 16;

/// For ever, whatever happens: a layer without its supervisor would look as if Redis were away for good.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    // Until when all was surely well; nothing before the first connection.
    let mut well = None;
    loop {
        if let Err(fault) = caught("supervisor", supervise(&shared, &mut backoff, &mut well)).await {
            shared.leave(&fault);
            shared.cannot_connect(fault);
        }
    }
}

async fn supervise(shared: &Shared, backoff: &mut Backoff, well: &mut Option<Instant>) {
    loop {
        sleep(backoff.next()).await;
        let session = match Session::open(shared).await {
            Ok(session) => Arc::new(session),
            Err(fault) => {
                shared.cannot_connect(fault);
                continue;
            }
        };
        let opened = Instant::now();
        shared.enter(session.clone());
        let fault = match catch_up(shared, &session).await {
            Ok(()) => {
                shared.tell_of_session(*well);
                watch(shared, &session, well).await
            }
            Err(fault) => fault,
        };
        session.fail(fault.clone());
        shared.leave(&fault);
        backoff.connected_for(opened.elapsed());
    }
}

/// Until something is wrong.
async fn watch(shared: &Shared, session: &Session, well: &mut Option<Instant>) -> Fault {
    *well = Some(Instant::now());
    tokio::select! {
        fault = session.failed() => fault,
        fault = heartbeat(shared, session, well) => fault,
        fault = follow_wishes(shared, session) => fault,
        fault = probe(shared) => fault,
        fault = topology::moved(&shared.place, &shared.config, &session.server, &shared.counters) => fault,
    }
}

async fn heartbeat(shared: &Shared, session: &Session, well: &mut Option<Instant>) -> Fault {
    let limit = shared.config.timeout;
    loop {
        sleep(shared.config.heartbeat).await;
        let asked = Instant::now();
        let role = topology::check_role(&session.commands, &session.server, limit, &shared.counters);
        if let Err(fault) = try_join(role, session.subscriber.ping(limit)).await {
            return fault;
        }
        *well = Some(asked);
    }
}

/// Subscribes and unsubscribes as groups come and go.
async fn follow_wishes(shared: &Shared, session: &Session) -> Fault {
    loop {
        let changes = shared.subscriptions.changes(|channel| shared.mode.is_empty(channel)).await;
        if let Err(fault) = carry_out(shared, session, changes).await {
            return fault;
        }
    }
}

/// Carries out the changes that were requested while the session was being set up, by callers that do not
/// wait for the result.
async fn catch_up(shared: &Shared, session: &Session) -> Result<(), Fault> {
    session.restore(shared, false).await?;
    carry_out(shared, session, shared.subscriptions.changes_now(|channel| shared.mode.is_empty(channel)))
        .await
}

async fn carry_out(shared: &Shared, session: &Session, changes: Changes) -> Result<(), Fault> {
    session.unsubscribe(&changes.unsubscribe, shared).await?;
    changes.subscribe.iter().for_each(|channel| shared.mode.begins(channel));
    // Those who asked are told, also of a refusal, which is no reason to begin anew.
    let tell = |channels: &[String], answer: Result<(), Fault>| match answer {
        Err(fault) => channels.iter().for_each(|channel| shared.refused(channel, fault.clone())),
        Ok(()) => shared.subscriptions.answered(channels, Ok(())),
    };
    session.subscribe_each(&changes.subscribe, shared, tell).await
}

async fn probe(shared: &Shared) -> Fault {
    loop {
        sleep(shared.config.probe).await;
        match round_trip(shared).await {
            // Too much to do is no reason to begin anew; the heartbeat watches meanwhile.
            Ok(_) | Err(Fault::Crowded) => {}
            Err(fault) => return fault,
        }
    }
}

/// Sends a message to ourselves the way every message goes, and measures.
pub(super) async fn round_trip(shared: &Shared) -> Result<Duration, Fault> {
    let limit = shared.config.timeout * 2; // in the queue, and under way
    let started = Instant::now();
    if !shared.up.load(Relaxed) {
        return Err(shared.away());
    }
    let probe = shared.mode.probe();
    let way = async {
        shared.outbox.publish(probe.channel, probe.envelope).await?;
        probe.back.await.map_err(|_| Fault::Closed)
    };
    timeout(limit, way).await.map_err(|_| Fault::Deadline(limit))??;
    Ok(started.elapsed())
}

impl Shared {
    /// A session is ready: calls go through again.
    fn enter(&self, session: Arc<Session>) {
        tracing::info!(server = %session.server.address, "connected to Redis");
        self.troubles().clear();
        self.set_session(Some(session));
        if self.outbox.is_closed() {
            // Closed while it was made, perhaps before it could be found: nobody else would end it.
            self.set_session(None);
        }
    }

    /// Returns the reason why there is no session.
    pub(super) fn away(&self) -> Fault {
        match &*self.trouble.borrow() {
            Some(fault) => Fault::Away(Box::new(fault.clone())),
            None => Fault::Down,
        }
    }

    fn troubles(&self) -> MutexGuard<'_, HashSet<String>> {
        // Nothing in here is left half done by a panic.
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the gap since the last working session, in which messages may have been missed.
    fn tell_of_session(&self, well: Option<Instant>) {
        if let Some(well) = well {
            let gap = well.elapsed();
            self.counters.one(Count::Reconnects);
            self.counters.add(Count::GapMilliseconds, u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
            tracing::warn!(?gap, "messages of others may have been missed");
            self.mode.events().raise(LayerEvent::Reconnected { gap });
        }
    }

    /// The session is over: calls fail at once.
    pub(super) fn leave(&self, fault: &Fault) {
        if *fault != Fault::Closed {
            self.trouble.send_replace(Some(fault.clone()));
        }
        let was_up = self.set_session(None).is_some();
        self.subscriptions.interrupted(if *fault == Fault::Closed { fault } else { &Fault::Down });
        if was_up && *fault != Fault::Closed {
            self.counters.one(Count::Disconnects);
            self.counters.warn("lost the connection to Redis", &fault.clone().into());
            self.mode.events().raise(LayerEvent::Disconnected);
        }
    }

    /// Redis does not let us hear a channel. Members of its group may not know yet: they joined in an outage, and did not
    /// wait.
    pub(super) fn refused(&self, channel: &str, fault: Fault) {
        if self.mode.is_empty(channel) {
            return self.subscriptions.answered(&[channel.to_owned()], Err(fault));
        }
        if let Some(times) = self.counters.warning_due("a group hears nothing", &fault.clone().into()) {
            tracing::warn!(channel, %fault, times, "the members of a group hear nothing any more");
        }
        self.counters.one(Count::SubscribeRefused);
        self.subscriptions.refused(channel, fault);
    }

    /// The flag changes while the session is locked, so whoever sees the one sees the other.
    fn set_session(&self, mut session: Option<Arc<Session>>) -> Option<Arc<Session>> {
        self.session.send_modify(|current| {
            let is_up = session.is_some();
            match (self.up.swap(is_up, Relaxed), is_up) {
                (false, true) => self.mode.events().up(),
                (true, false) => self.mode.events().down(),
                _ => {}
            }
            self.known.fetch_or(is_up, Relaxed);
            std::mem::swap(current, &mut session);
        });
        session
    }

    fn cannot_connect(&self, fault: Fault) {
        self.counters.one(Count::ConnectFailed);
        let (place, text) = (&self.place, fault.to_string());
        let mut troubles = self.troubles();
        if troubles.len() < TROUBLES && troubles.insert(text) {
            tracing::warn!(%place, %fault, "cannot connect to Redis, and goes on trying");
        } else {
            tracing::debug!(%place, %fault, "cannot connect to Redis");
        }
        drop(troubles);
        self.trouble.send_replace(Some(fault));
    }
}
