//! The supervisor's task, which connects, watches the link, and reconnects when it is lost.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{
    super::{backoff::Backoff, error::LinkError, panics::caught, session::Session, subscriptions::Changes},
    state::ShardState,
};

/// Runs until it is aborted, also after a panic: a layer without its supervisor would look as if its server were down.
pub(super) async fn run(shared: Arc<ShardState>) {
    let mut backoff = Backoff::default();
    // The last time at which the link was known to be healthy. `None` before the first session.
    let mut well = None;
    loop {
        if let Err(error) = caught("supervisor", supervise(&shared, &mut backoff, &mut well)).await {
            shared.leave(&error);
            shared.cannot_connect(error);
        }
    }
}

async fn supervise(shared: &ShardState, backoff: &mut Backoff, well: &mut Option<Instant>) {
    loop {
        sleep(backoff.pause()).await;
        let session = match Session::open(&shared.context).await {
            Ok(session) => Arc::new(session),
            Err(error) => {
                shared.cannot_connect(error);
                continue;
            }
        };
        let opened = Instant::now();
        shared.enter(session.clone());
        let error = match catch_up(shared, &session).await {
            Ok(()) => {
                shared.announce(*well);
                watch(shared, &session, well).await
            }
            Err(error) => error,
        };
        session.fail(error.clone());
        shared.leave(&error);
        backoff.connected_for(opened.elapsed());
    }
}

/// Waits for a failure of the session.
async fn watch(shared: &ShardState, session: &Session, well: &mut Option<Instant>) -> LinkError {
    *well = Some(Instant::now());
    tokio::select! {
        error = session.failed() => error,
        error = heartbeat(shared, session, well) => error,
        error = follow_changes(shared, session) => error,
        error = probe(shared) => error,
    }
}

async fn heartbeat(shared: &ShardState, session: &Session, well: &mut Option<Instant>) -> LinkError {
    loop {
        sleep(shared.context.options.heartbeat).await;
        let asked = Instant::now();
        if let Err(error) = session.ping(&shared.context).await {
            return error;
        }
        *well = Some(asked);
    }
}

/// Subscribes and unsubscribes as groups get their first and lose their last member.
async fn follow_changes(shared: &ShardState, session: &Session) -> LinkError {
    let context = &shared.context;
    loop {
        let changes = context.subscriptions.changes(|topic| context.handler.is_unused(topic)).await;
        if let Err(error) = carry_out(shared, session, changes).await {
            return error;
        }
    }
}

/// Carries out the changes that were requested while the session was being set up, by callers that do not
/// wait for the result.
async fn catch_up(shared: &ShardState, session: &Session) -> Result<(), LinkError> {
    let context = &shared.context;
    session.restore(context).await?;
    let changes = context.subscriptions.changes_now(|topic| context.handler.is_unused(topic));
    carry_out(shared, session, changes).await
}

async fn carry_out(shared: &ShardState, session: &Session, changes: Changes) -> Result<(), LinkError> {
    let context = &shared.context;
    session.unsubscribe(&changes.unsubscribe, context).await?;
    changes.subscribe.iter().for_each(|topic| context.handler.begins(topic));
    // The callers get the answer, also a refusal, which does not end the link.
    let answer_callers = |topic: &str, answer: Result<(), LinkError>| {
        match answer {
            Err(error) => context.refused(topic, error),
            Ok(()) => context.subscriptions.answered(&[topic.to_owned()], Ok(())),
        }
        Ok(())
    };
    session.subscribe(&changes.subscribe, context, answer_callers).await
}

async fn probe(shared: &ShardState) -> LinkError {
    loop {
        sleep(shared.context.options.probe).await;
        match round_trip(shared).await {
            // A full outbox does not end the link. The heartbeat continues to watch it.
            Ok(_) | Err(LinkError::QueueFull) => {}
            Err(error) => return error,
        }
    }
}

/// Sends a message to this process on the path of all messages, and measures the time.
pub(super) async fn round_trip(shared: &ShardState) -> Result<Duration, LinkError> {
    let limit = shared.context.options.call_timeout();
    let started = Instant::now();
    if !shared.up.load(Relaxed) {
        return Err(shared.away());
    }
    let Some(probe) = shared.context.handler.probe(None) else { return Ok(Duration::ZERO) };
    let way = async {
        shared.outbox.publish(&probe.topic, &probe.payload).await?;
        probe.back.await.map_err(|_| LinkError::Closed)
    };
    timeout(limit, way).await.map_err(|_| LinkError::Deadline(limit))??;
    Ok(started.elapsed())
}
