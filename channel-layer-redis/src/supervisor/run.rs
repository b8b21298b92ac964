//! The supervisor's own task: connect, watch, lose, connect again.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use channel_layer::LayerEvent;
use futures_util::future::try_join;
use tokio::time::{Instant, sleep, timeout};

use super::{Shared, backoff::Backoff, panics::caught, session::Session};
use crate::{error::Fault, topology};

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
        shared.enter(session.clone(), *well);
        let fault = watch(shared, &session, well).await;
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
        fault = topology::moved(&shared.place, &shared.config, &session.server) => fault,
    }
}

async fn heartbeat(shared: &Shared, session: &Session, well: &mut Option<Instant>) -> Fault {
    let limit = shared.config.timeout;
    loop {
        sleep(shared.config.heartbeat).await;
        let asked = Instant::now();
        let role = topology::check_role(&session.commands, &session.server, limit);
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
        if let Err(fault) = session.unsubscribe(&changes.unsubscribe, shared).await {
            return fault;
        }
        changes.subscribe.iter().for_each(|channel| shared.mode.begins(channel));
        // Those who asked are told, also of a refusal, which is no reason to begin anew.
        let tell = |channels: &[String], answer| shared.subscriptions.answered(channels, answer);
        if let Err(fault) = session.subscribe_each(&changes.subscribe, shared, tell).await {
            return fault;
        }
    }
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
        return Err(Fault::Down);
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
    fn enter(&self, session: Arc<Session>, well: Option<Instant>) {
        tracing::info!(server = %session.server.address, "connected to Redis");
        self.set_session(Some(session));
        if self.outbox.is_closed() {
            // Closed while it was made, perhaps before it could be found: nobody else would end it.
            self.set_session(None);
            return;
        }
        if let Some(well) = well {
            let gap = well.elapsed();
            self.counters.reconnects.one();
            self.counters.gap_milliseconds.add_time(gap);
            tracing::warn!(?gap, "messages of others may have been missed");
            self.mode.raise(LayerEvent::Reconnected { gap });
        }
    }

    /// The session is over: calls fail at once.
    pub(super) fn leave(&self, fault: &Fault) {
        let was_up = self.set_session(None).is_some();
        self.subscriptions.interrupted(if *fault == Fault::Closed { fault } else { &Fault::Down });
        if was_up && *fault != Fault::Closed {
            self.counters.disconnects.one();
            tracing::warn!(%fault, "lost the connection to Redis");
            self.mode.raise(LayerEvent::Disconnected);
        }
    }

    /// The flag changes while the session is locked, so whoever sees the one sees the other.
    fn set_session(&self, mut session: Option<Arc<Session>>) -> Option<Arc<Session>> {
        self.session.send_modify(|current| {
            self.up.store(session.is_some(), Relaxed);
            std::mem::swap(current, &mut session);
        });
        session
    }

    fn cannot_connect(&self, fault: Fault) {
        self.counters.connect_failed.one();
        tracing::debug!(%fault, "cannot connect to Redis");
        self.trouble.send_replace(Some(fault));
    }
}
