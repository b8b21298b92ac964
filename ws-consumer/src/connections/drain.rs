//! The end of all connections of a service together.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use super::Connections;
use crate::{
    frame::Close,
    wire::{Connection, PendingInput},
};

/// The way in which all connections are ended: what the clients are told, and over how long.
///
/// A drain has two parts. First reading stops: frames that have arrived are handled, and the resulting
/// messages are delivered, while all clients are still connected. Then the connections are closed, all at
/// once or over a period. A client that sends a frame in the second part is closed before its turn, its frame
/// unhandled: the clients closed already would miss it.
///
/// Plain requests under way have no part in either: they end with their responses, or at the end of their time.
///
/// ```
/// use std::time::Duration;
/// use ws_consumer::Drain;
///
/// // A deploy: over ten seconds, each client is told to come back in its own time.
/// let drain = Drain::restart().over(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct Drain {
    close: Close,
    over: Duration,
    retry: bool,
    requests: Duration,
}

/// Connections are closed in batches, one per step: fine enough to be even, coarse enough to cost nothing.
const STEP: Duration = Duration::from_millis(50);

/// The time limit for consumers to handle input that came before the drain, and again for messages that
/// others then sent to them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The default time limit for requests under way. Together with `PATIENCE` and the server's waits at the end,
/// below the 30 s after which common supervisors kill a process.
const REQUESTS: Duration = Duration::from_secs(10);

/// The interval between checks whether consumers are still busy.
const LOOK: Duration = Duration::from_millis(5);

/// The longest wait for the layer's backend to answer.
const BACKEND: Duration = Duration::from_secs(1);

impl Drain {
    /// The server goes away: 1001, all at once.
    pub fn going_away() -> Self {
        Close::from(Close::GOING_AWAY).into()
    }

    /// The server restarts: 1012, with a hint when to come back: the reason is `retry-after=` and seconds, another for
    /// each client, within the time that the drain takes.
    pub fn restart() -> Self {
        Self { retry: true, ..Close::from(Close::SERVICE_RESTART).into() }
    }

    /// Spreads the closes over this time, so that the clients do not all come back at once.
    pub fn over(mut self, time: Duration) -> Self {
        self.over = time;
        self
    }

    /// Sets the time limit for plain requests under way, from the beginning of the drain on: 10 s by default.
    /// Requests always have until the last socket has been closed. A request that is not answered by then
    /// gets 503, and a response that has begun is broken off.
    pub fn requests_within(mut self, time: Duration) -> Self {
        self.requests = time;
        self
    }

    /// Returns the longest duration of the drain, without the hooks that run after the last close.
    pub(crate) fn time(&self) -> Duration {
        self.over.saturating_add(2 * PATIENCE).max(self.requests)
    }

    fn close(&self) -> Close {
        if !self.retry {
            return self.close.clone();
        }
        let seconds = self.over.max(Duration::from_secs(1)).mul_f64(fastrand::f64()).as_secs_f64();
        Close::new(self.close.code, format!("retry-after={seconds:.1}"))
    }
}

impl<C: Into<Close>> From<C> for Drain {
    fn from(close: C) -> Self {
        Self { close: close.into(), over: Duration::ZERO, retry: false, requests: REQUESTS }
    }
}

/// Connections that are not heard. Those whose close has not begun when it is dropped are heard again.
struct Muted(Vec<Arc<Connection>>);

impl Drop for Muted {
    fn drop(&mut self) {
        self.0.iter().for_each(|link| link.unmute());
    }
}

impl Connections {
    /// Ends all connections with close code 1001 and lets no further one in. Returns once every `disconnect` hook
    /// has run, and the shutdown hooks after them.
    ///
    /// Each connection ends within its close timeout and the grace of its hooks; plain requests under way are answered
    /// first, for [10 s at the most](Drain::requests_within). Cancel safe: the connections go on ending.
    pub async fn close(&self) {
        self.drain(Drain::going_away()).await;
    }

    /// Closes all sockets like [`close`](Self::close), with a chosen close code and duration. Output queued
    /// before the drain is still sent.
    ///
    /// Frames are no longer read; those that have been read are handled, for 3 s at the most, and what their hooks send is
    /// delivered before the first client is closed. While the closes are [spread](Drain::over), a client that speaks is
    /// closed before its turn, and its frame is not handled.
    ///
    /// If the future is dropped before all clients have been closed, the others stay connected; new clients
    /// are still refused.
    pub async fn drain(&self, drain: impl Into<Drain>) {
        let drain = drain.into();
        let began = Instant::now();
        let (requests, sockets): (Vec<_>, Vec<_>) =
            self.begin_close().into_iter().partition(|link| link.is_request());
        sockets.iter().for_each(|link| link.mute());
        let muted = Muted(sockets);
        _ = timeout(PATIENCE, self.deliver(&muted.0, &requests)).await;
        self.close_in_turn(&muted.0, &drain).await;
        self.0.tasks.close();
        self.0.requests.close();
        self.end_late(&muted.0, &drain).await;
        drop(muted);
        let left = drain.requests.saturating_sub(began.elapsed());
        if timeout(left, self.0.requests.wait()).await.is_err() {
            tracing::warn!(requests = self.0.requests.len(), "requests were not answered within the drain");
            requests.iter().for_each(|link| link.shut_down(drain.close(), PendingInput::Drop));
        }
        drop(requests);
        self.0.tasks.wait().await;
        self.0.requests.wait().await;
        if let Some(afterwards) = self.0.afterwards.get() {
            afterwards().await;
        }
        self.0.ended.cancel();
    }

    /// Runs [`drain`](Self::drain) in its own task, for servers that must be told to stop while sockets are
    /// being closed, such as [axum's](crate::SocketService). [`closed`](Self::closed) waits for the end.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_drain(&self, drain: impl Into<Drain>) {
        let (sockets, drain) = (self.clone(), drain.into());
        tokio::spawn(async move { sockets.drain(drain).await });
    }

    /// Waits until a drain, by whomever, has ended: every `disconnect` hook has run, and the shutdown hooks after them. For
    /// ever if there is none. Cancel safe.
    pub async fn closed(&self) {
        self.0.ended.cancelled().await;
    }

    /// Waits until what has been heard is handled, and what was sent for it has arrived.
    async fn deliver(&self, sockets: &[Arc<Connection>], requests: &[Arc<Connection>]) {
        if sockets.is_empty() {
            return;
        }
        let handled = async || {
            let mut idle = 0;
            loop {
                let busy = sockets.iter().chain(requests).any(|link| link.handles_input());
                idle = if busy { 0 } else { idle + 1 };
                // Twice: a frame may have been on its way from the transport during the first look.
                if idle == 2 {
                    return;
                }
                sleep(LOOK).await;
            }
        };
        handled().await;
        let Some(layer) = self.0.layer.get() else { return };
        // A layer within the process answers at once, and has delivered.
        if layer.health().now_or_never().is_some() {
            return;
        }
        let asked = Instant::now();
        _ = timeout(BACKEND, layer.health()).await;
        // What was sent comes back on another connection, and as late as this.
        sleep(asked.elapsed() * 2 + LOOK).await;
        handled().await;
    }

    async fn close_in_turn(&self, sockets: &[Arc<Connection>], drain: &Drain) {
        let steps = (drain.over.as_millis() / STEP.as_millis()).max(1) as usize;
        if steps > 1 {
            sockets.iter().for_each(|link| link.refuse_input(drain.close()));
        }
        let batches = sockets.chunks(sockets.len().div_ceil(steps).max(1));
        // Of a few, each has a longer step.
        let step = drain.over / u32::try_from(batches.len().max(1)).unwrap_or(u32::MAX);
        for (number, batch) in batches.enumerate() {
            if number > 0 {
                sleep(step).await;
            }
            batch.iter().for_each(|link| link.shut_down(drain.close(), PendingInput::Handle));
            tracing::debug!(left = self.len(), "draining");
        }
    }

    /// Ends connections whose hooks are still busy. A connection that carries a session ends with it, after
    /// its last frame; one that carries a session of another process is closed now.
    async fn end_late(&self, sockets: &[Arc<Connection>], drain: &Drain) {
        if timeout(PATIENCE, self.0.tasks.wait()).await.is_err() {
            sockets.iter().for_each(|link| link.shut_down(drain.close(), PendingInput::Drop));
        }
        // Some carry beside the tasks.
        self.legs().iter().for_each(|link| link.shut_down(drain.close(), PendingInput::Drop));
    }
}
