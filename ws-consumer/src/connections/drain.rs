//! [`Drain`]: the end of all connections of a service.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, sleep, timeout};

use super::Connections;
use crate::{
    frame::Close,
    wire::{Connection, PendingInput},
};

/// A plan to end all connections: the close code, the duration and the time limit for requests.
///
/// A drain has two parts. First reading stops: frames that have arrived are handled, and the resulting
/// messages are delivered, while all clients are still connected. Then the connections are closed, all at
/// once or over a period. A client that sends a frame in the second part is closed early, its frame
/// unhandled, because the clients closed before would miss the result.
///
/// Pending requests are not affected. They end with their responses, or at their time limit.
///
/// ```
/// use std::time::Duration;
/// use ws_consumer::Drain;
///
/// // A deploy: within ten seconds, each client is closed with an individual delay for its return.
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
pub(crate) const INPUT_TIMEOUT: Duration = Duration::from_secs(3);

/// The default time limit for pending requests. Together with `INPUT_TIMEOUT` and the server's waits at the end, below the
/// 30 s after which common supervisors kill a process.
const REQUESTS_WITHIN: Duration = Duration::from_secs(10);

/// The interval between checks whether consumers are still busy.
const BUSY_CHECK: Duration = Duration::from_millis(5);

/// The time limit for an answer of the layer's backend.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(1);

impl Drain {
    /// Creates a drain for a server that goes away: all connections close at once, with 1001.
    pub fn going_away() -> Self {
        Close::from(Close::GOING_AWAY).into()
    }

    /// Creates a drain for a server that restarts: connections close with 1012, and the reason `retry-after=` with a number
    /// of seconds. The number is random for each client, within the duration of the drain.
    pub fn restart() -> Self {
        Self { retry: true, ..Close::from(Close::SERVICE_RESTART).into() }
    }

    /// Spreads the closes over this time, so that the clients do not return at once.
    pub fn over(mut self, time: Duration) -> Self {
        self.over = time;
        self
    }

    /// Sets the time limit for pending requests, from the beginning of the drain on: 10 s by default.
    /// Requests always have until the last socket has been closed. A request that is not answered by then
    /// gets 503, and a response that has begun is broken off.
    pub fn requests_within(mut self, time: Duration) -> Self {
        self.requests = time;
        self
    }

    /// Returns the longest duration of the drain, without the hooks that run after the last close.
    pub(crate) fn time(&self) -> Duration {
        self.over.saturating_add(2 * INPUT_TIMEOUT).max(self.requests)
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
        Self { close: close.into(), over: Duration::ZERO, retry: false, requests: REQUESTS_WITHIN }
    }
}

/// Connections that are not read. On drop, those whose close has not begun are read again.
struct MutedConnections(Vec<Arc<Connection>>);

impl Drop for MutedConnections {
    fn drop(&mut self) {
        self.0.iter().for_each(|connection| connection.unmute());
    }
}

impl Connections {
    /// Ends all connections with close code 1001, and refuses further ones. Returns once every `disconnect` hook
    /// has run, and the shutdown hooks after them.
    ///
    /// Each connection ends within its close timeout and the time limit of its hooks. Pending requests are answered first,
    /// for [10 s at most](Drain::requests_within). Cancel safe: the connections continue to end.
    pub async fn close(&self) {
        self.drain(Drain::going_away()).await;
    }

    /// Closes all sockets like [`close`](Self::close), with a chosen close code and duration. Output queued
    /// before the drain is still sent.
    ///
    /// Frames are no longer read. Those that have been read are handled, for 3 s at most, and the messages of their hooks are
    /// delivered before the first client is closed. While the closes are [spread](Drain::over), a client that sends a frame
    /// is closed early, and the frame is not handled.
    ///
    /// If the future is dropped before all clients have been closed, the others stay connected; new clients
    /// are still refused.
    pub async fn drain(&self, drain: impl Into<Drain>) {
        let drain = drain.into();
        let began = Instant::now();
        let (requests, sockets): (Vec<_>, Vec<_>) =
            self.begin_close().into_iter().partition(|connection| connection.is_request());
        sockets.iter().for_each(|connection| connection.mute());
        let muted = MutedConnections(sockets);
        _ = timeout(INPUT_TIMEOUT, self.deliver(&muted.0, &requests)).await;
        self.close_in_turn(&muted.0, &drain).await;
        self.0.tasks.close();
        self.0.requests.close();
        self.end_late(&muted.0, &drain).await;
        drop(muted);
        let left = drain.requests.saturating_sub(began.elapsed());
        if timeout(left, self.0.requests.wait()).await.is_err() {
            tracing::warn!(requests = self.0.requests.len(), "requests were not answered within the drain");
            requests.iter().for_each(|connection| connection.shut_down(drain.close(), PendingInput::Drop));
        }
        drop(requests);
        self.0.tasks.wait().await;
        self.0.requests.wait().await;
        if let Some(hook) = self.0.on_drained.get() {
            hook().await;
        }
        self.0.drained.cancel();
    }

    /// Runs [`drain`](Self::drain) in its own task, for servers whose shutdown must begin while sockets are
    /// being closed, such as [axum's](crate::SocketService). [`closed`](Self::closed) waits for the end.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub fn start_drain(&self, drain: impl Into<Drain>) {
        let (sockets, drain) = (self.clone(), drain.into());
        tokio::spawn(async move { sockets.drain(drain).await });
    }

    /// Waits for the end of any drain: every `disconnect` hook has run, and the shutdown hooks after them. Waits forever
    /// without a drain. Cancel safe.
    pub async fn closed(&self) {
        self.0.drained.cancelled().await;
    }

    /// Waits until the frames that were read are handled, and the messages sent for them have arrived.
    async fn deliver(&self, sockets: &[Arc<Connection>], requests: &[Arc<Connection>]) {
        if sockets.is_empty() {
            return;
        }
        let handled = async || {
            let mut idle = 0;
            loop {
                let busy = sockets.iter().chain(requests).any(|connection| connection.handles_input());
                idle = if busy { 0 } else { idle + 1 };
                // Twice: a frame may have been on its way from the transport during the first check.
                if idle == 2 {
                    return;
                }
                sleep(BUSY_CHECK).await;
            }
        };
        handled().await;
        let mut layers = self.layers();
        // A layer within the process answers at once, and has delivered its messages.
        layers.retain(|layer| layer.health().now_or_never().is_none());
        if layers.is_empty() {
            return;
        }
        let asked = Instant::now();
        _ = timeout(BACKEND_TIMEOUT, join_all(layers.iter().map(|layer| layer.health()))).await;
        // Messages return over another connection, with about the same delay.
        sleep(asked.elapsed() * 2 + BUSY_CHECK).await;
        handled().await;
    }

    async fn close_in_turn(&self, sockets: &[Arc<Connection>], drain: &Drain) {
        let steps = (drain.over.as_millis() / STEP.as_millis()).max(1) as usize;
        if steps > 1 {
            sockets.iter().for_each(|connection| connection.refuse_input(drain.close()));
        }
        let batches = sockets.chunks(sockets.len().div_ceil(steps).max(1));
        // With few connections, each batch has a longer step.
        let step = drain.over / u32::try_from(batches.len().max(1)).unwrap_or(u32::MAX);
        for (number, batch) in batches.enumerate() {
            if number > 0 {
                sleep(step).await;
            }
            batch.iter().for_each(|connection| connection.shut_down(drain.close(), PendingInput::Handle));
            tracing::debug!(left = self.len(), "draining");
        }
    }

    /// Ends connections whose hooks are still busy, and then those that do not count: they serve connections that have ended,
    /// or are in other processes.
    async fn end_late(&self, sockets: &[Arc<Connection>], drain: &Drain) {
        if timeout(INPUT_TIMEOUT, self.0.tasks.wait()).await.is_err() {
            sockets.iter().for_each(|connection| connection.shut_down(drain.close(), PendingInput::Drop));
        }
        // Some of them are not among the tasks.
        self.uncounted()
            .iter()
            .for_each(|connection| connection.shut_down(drain.close(), PendingInput::Drop));
    }
}
