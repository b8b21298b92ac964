//! Background work: consumers of named channels, in this process or in a separate one.
//!
//! An event is sent to a channel by name, and one of the [`Workers`] that serve the channel receives it. A consumer that
//! [submits](crate::Context::submit) an event receives reports of progress as events.
//!
//! ```
//! use channel_layer::MemoryLayer;
//! use serde::{Deserialize, Serialize};
//! use ws_consumer::Result;
//! use ws_consumer::worker::{Job, RetryPolicy, Worker, Workers};
//!
//! #[derive(Deserialize)]
//! #[serde(tag = "type")]
//! enum Order {
//!     #[serde(rename = "thumbnail.make")]
//!     Make { picture: String },
//! }
//!
//! #[derive(Serialize)]
//! #[serde(tag = "type", rename = "thumbnail.done")]
//! struct Done { picture: String }
//!
//! struct Thumbnails;
//!
//! impl Worker for Thumbnails {
//!     type Event = Order;
//!
//!     async fn handle(&self, job: &Job, order: Order) -> Result<()> {
//!         let Order::Make { picture } = order;
//!         job.progress(&Done { picture }).await
//!     }
//! }
//!
//! # async fn run() -> Result<()> {
//! let workers = Workers::new(MemoryLayer::default())
//!     .channel("thumbnails", Thumbnails, RetryPolicy::default().concurrency(4).retries(2))?;
//! workers.run_until(async { _ = tokio::signal::ctrl_c().await }).await;
//! # Ok(()) }
//! ```
//!
//! A worker has no timers: one value handles the events of all senders, in any number of processes. What is to happen later is
//! sent by a [`Scheduler`].
//!
//! # Guarantees
//!
//! A message is delivered to one worker, at most once: the messages that a worker holds when its process is killed are lost,
//! at most as many as its [concurrency](RetryPolicy::concurrency). [Retries](RetryPolicy::retries) repeat failed work, so a worker
//! with retries must be idempotent. Callers that must not lose work use [`submit_until_done`], which waits for the end and
//! sends the event again if none is reported.

mod attempts;
mod handler;
mod job;
mod policy;
mod schedule;
mod submit;

use std::{future::poll_fn, mem::discriminant, pin::pin, sync::Arc, task::Poll, time::Duration};

use channel_layer::{Causes, ChannelLayer, ChannelLayerExt, ChannelName, Message};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{attempts::Attempts, handler::DynWorker};
pub use self::{
    handler::{Worker, worker_fn},
    job::Job,
    policy::RetryPolicy,
    schedule::{Scheduled, Scheduler},
    submit::{SubmitPolicy, submit_until_done},
};
use crate::error::{Error, FailureReports, Result};

/// The time in which work in progress may finish after a stop.
const GRACE: Duration = Duration::from_secs(30);
/// The pause after a failed `receive`: it limits the load without a noticeable delay.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Workers by channel name, like a `ChannelNameRouter` of Django Channels with `runworker`.
pub struct Workers {
    layer: Arc<dyn ChannelLayer>,
    routes: Vec<WorkerRoute>,
    grace: Duration,
}

struct WorkerRoute {
    channel: ChannelName,
    worker: Arc<dyn DynWorker>,
    policy: RetryPolicy,
}

impl Workers {
    /// Creates an empty set of workers on a layer.
    pub fn new(layer: impl ChannelLayer) -> Self {
        Self { layer: layer.into_shared(), routes: Vec::new(), grace: GRACE }
    }

    /// Serves a channel.
    ///
    /// # Errors
    /// The name is invalid, belongs to a single process, or has a worker already.
    pub fn channel<N>(mut self, name: N, worker: impl Worker, policy: RetryPolicy) -> Result<Self>
    where
        N: TryInto<ChannelName, Error: Into<channel_layer::Error>>,
    {
        let channel = name.try_into().map_err(|error| Error::Layer(error.into()))?;
        if channel.is_process_local() {
            return Err(Error::other(format!(
                "`{channel}` belongs to one connection: workers have plain names"
            )));
        }
        if self.routes.iter().any(|route| route.channel == channel) {
            return Err(Error::other(format!("the channel `{channel}` has a worker already")));
        }
        self.routes.push(WorkerRoute { channel, worker: Arc::new(worker), policy });
        Ok(self)
    }

    /// Sets the time in which work in progress may finish after a stop. Then it is dropped. 30 s by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Runs the workers forever.
    pub async fn run(self) {
        self.run_until(std::future::pending()).await;
    }

    /// Runs the workers until `stop` completes. Then no more messages are received, work in progress may finish, and messages
    /// that wait for a retry are sent to their channel again, for other workers.
    ///
    /// Dropping the future drops work in progress.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        let (jobs, stopping, aborting) =
            (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let _abort = aborting.clone().drop_guard();
        let (grace, reports) = (self.grace, Arc::new(FailureReports::default()));
        let served: Vec<_> = self
            .routes
            .into_iter()
            .map(|route| {
                let task = ChannelTask {
                    route,
                    layer: self.layer.clone(),
                    jobs: jobs.clone(),
                    stopping: stopping.clone(),
                    aborting: aborting.clone(),
                    reports: reports.clone(),
                };
                Box::pin(task.serve())
            })
            .collect();
        let mut stop = pin!(stop);
        let mut all = pin!(futures_util::future::join_all(served));
        // One task receives from all channels; each job is a task.
        poll_fn(|cx| {
            if stop.as_mut().poll(cx).is_ready() {
                stopping.cancel();
                return Poll::Ready(());
            }
            all.as_mut().poll(cx).map(|_| ())
        })
        .await;
        if stopping.is_cancelled() {
            all.await;
        }
        jobs.close();
        if timeout(grace, jobs.wait()).await.is_err() {
            tracing::warn!(dropped = jobs.len(), "work that did not finish in time is dropped");
        }
    }
}

/// The reception of a channel's messages.
struct ChannelTask {
    route: WorkerRoute,
    layer: Arc<dyn ChannelLayer>,
    jobs: TaskTracker,
    stopping: CancellationToken,
    aborting: CancellationToken,
    /// Limits how often failures are logged.
    reports: Arc<FailureReports>,
}

impl ChannelTask {
    async fn serve(self) {
        let places = Arc::new(Semaphore::new(self.route.policy.concurrency));
        loop {
            // A message is received only when a slot is free, so that other processes can take the rest.
            let place = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                place = places.clone().acquire_owned() => place,
            };
            let (Ok(place), Some(message)) = (place, self.next().await) else { return };
            let attempts = self.attempts(message);
            let aborting = self.aborting.clone();
            self.jobs.spawn(async move {
                aborting.run_until_cancelled(attempts.run()).await;
                drop(place);
            });
        }
    }

    /// Returns the next message, or `None` after a stop.
    async fn next(&self) -> Option<Message> {
        let channel = &self.route.channel;
        loop {
            let received = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return None,
                received = self.layer.receive(channel) => received,
            };
            match received {
                Ok(message) => return Some(message),
                Err(error @ channel_layer::Error::Closed) => {
                    tracing::error!(%channel, %error, "a worker stops");
                    return None;
                }
                Err(error) => {
                    if let Some(failures) = self.reports.due((channel, discriminant(&error))) {
                        let error = Causes(&error);
                        tracing::warn!(%channel, %error, failures, "receiving failed");
                    }
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn attempts(&self, message: Message) -> Attempts {
        Attempts {
            worker: self.route.worker.clone(),
            policy: self.route.policy.clone(),
            job: Job::new(self.layer.clone(), self.route.channel.clone(), message),
            stopping: self.stopping.clone(),
            reports: self.reports.clone(),
        }
    }
}
