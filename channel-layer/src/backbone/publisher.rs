//! The task that publishes. It owns messages once they are queued, so that dropping the future of a caller never
//! cancels a message half-way. It sends all messages queued meanwhile in one batch.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{sync::watch, time::timeout};

use super::{
    counters::{Count, Counters},
    error::LinkError,
    handler::Stamp,
    outbox::{Outbox, Outgoing},
    panics::caught,
    sequence::Numbering,
    session::Session,
};

/// The most batches in flight.
const IN_FLIGHT: usize = 8;

/// The publisher of one shard.
pub(super) struct Publisher {
    pub(super) outbox: Arc<Outbox>,
    pub(super) session: watch::Receiver<Option<Arc<Session>>>,
    pub(super) counters: Arc<Counters>,
    pub(super) limit: Duration,
    /// `None` for formats without sequence numbers.
    pub(super) stamp: Option<Stamp>,
}

impl Publisher {
    /// Publishes batches until the task is aborted. A panic answers the callers of its batches as if the layer had been
    /// closed, and ends the session.
    pub(super) async fn run(self) {
        let _closed_at_the_end = ClosedAtTheEnd(&self.outbox);
        let mut numbering = Numbering::default();
        loop {
            if let Err(error) = caught("publisher", self.publish_all(&mut numbering)).await
                && let Some(session) = &*self.session.borrow()
            {
                session.fail(error);
            }
        }
    }

    async fn publish_all(&self, numbering: &mut Numbering) {
        let mut flying = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                // First, so that a batch is sent before the next one is taken: order depends on it.
                Some(()) = flying.next() => {}
                () = self.outbox.filled(), if flying.len() < IN_FLIGHT => {
                    // Corking: callers that are about to publish join the same batch.
                    tokio::task::yield_now().await;
                    let Some(mut outgoing) = self.outbox.take() else { continue };
                    let session = self.session.borrow().clone();
                    if let Some(stamp) = self.stamp {
                        outgoing.batch.for_each_mut(|topic, payload| stamp(payload, numbering.next(topic)));
                    }
                    match session {
                        Some(session) => flying.push(self.publish(session, outgoing)),
                        None => self.refuse(outgoing, LinkError::Down),
                    }
                }
            }
        }
    }

    async fn publish(&self, session: Arc<Session>, outgoing: Outgoing) {
        let publishing = timeout(self.limit, session.link.publish_all(&outgoing.batch)).await;
        let outcomes = match publishing {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(error)) => return self.lose(&session, outgoing, error.into()),
            Err(_) => return self.lose(&session, outgoing, LinkError::Deadline(self.limit)),
        };
        let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.map_err(LinkError::from)).collect();
        let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        self.counters.add(Count::Published, accepted as u64);
        self.counters.add(Count::PublishFailed, (outcomes.len() - accepted) as u64);
        let ending =
            outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).find(|error| error.ends_link());
        if let Some(error) = ending {
            session.fail(error.clone());
        }
        outgoing.promise.resolve(Ok(outcomes));
    }

    fn lose(&self, session: &Session, outgoing: Outgoing, error: LinkError) {
        self.refuse(outgoing, error.clone());
        session.fail(error);
    }

    fn refuse(&self, outgoing: Outgoing, error: LinkError) {
        self.counters.add(Count::PublishFailed, outgoing.batch.len() as u64);
        outgoing.promise.resolve(Err(error));
    }
}

/// Closes the outbox when the task ends, so that no caller waits for it.
struct ClosedAtTheEnd<'a>(&'a Outbox);

impl Drop for ClosedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
