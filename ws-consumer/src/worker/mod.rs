//! Work in the background: consumers on named channels, in this process or in one of their own.
//!
//! Whoever wants something done sends an event to a channel by name; one of the [`Workers`] that serve the channel
//! receives it. A consumer that [submits](crate::Context::submit) it hears of its progress as events.
//!
//! ```
//! use std::sync::Arc;
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
//! let workers = Workers::new(Arc::new(MemoryLayer::default()))
//!     .channel("thumbnails", Thumbnails, RetryPolicy::default().concurrency(4).retries(2))?;
//! workers.run_until(async { _ = tokio::signal::ctrl_c().await }).await;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//!
//! A message goes to one worker, and once: what a worker holds when its process is killed is lost, and that is at
//! most as many as its [concurrency](RetryPolicy::concurrency). [Retries](RetryPolicy::retries) repeat what has failed, so a worker
//! that asks for them must bear to do a thing twice. Who must not lose anything waits for the end of the work with
//! [`submit_until_done`], which asks anew when none comes.

mod attempts;
mod job;
mod policy;
mod schedule;
mod submit;

use std::{future::poll_fn, mem::discriminant, pin::pin, sync::Arc, task::Poll, time::Duration};

use channel_layer::{Causes, ChannelLayer, ChannelName, Message};
use serde::de::DeserializeOwned;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::attempts::{Attempts, Handle};
pub use self::{
    job::Job,
    policy::RetryPolicy,
    schedule::{Scheduled, Scheduler},
    submit::{SubmitPolicy, submit_until_done},
};
use crate::error::{Error, Reports, Result};

/// How long work under way may go on after the workers were told to stop.
const GRACE: Duration = Duration::from_secs(30);
/// After a failed `receive`: long enough not to flood the log, short enough for nobody to notice.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Handles the events of one channel.
///
/// One value handles all of them, several at a time if its [`RetryPolicy`] say so.
pub trait Worker: Send + Sync + 'static {
    /// What it is told, mostly an enum with `#[serde(tag = "type")]`. A message that is no such event is logged and
    /// dropped.
    type Event: DeserializeOwned + Send + 'static;

    /// Does what an event asks for.
    ///
    /// # Errors
    /// It failed, and is tried again if the [`RetryPolicy`] have retries left. [Bad input](Error::BadInput) is not tried
    /// again: it would not get better. A panic counts as a failure, and ends nothing else.
    fn handle(&self, job: &Job, event: Self::Event) -> impl Future<Output = Result<()>> + Send;
}

/// Workers by channel name: what Django Channels calls a `ChannelNameRouter` and runs with `runworker`.
pub struct Workers {
    layer: Arc<dyn ChannelLayer>,
    routes: Vec<Route>,
    grace: Duration,
}

struct Route {
    channel: ChannelName,
    worker: Arc<dyn Handle>,
    policy: RetryPolicy,
}

impl Workers {
    /// No workers yet, on this layer.
    pub fn new(layer: Arc<dyn ChannelLayer>) -> Self {
        Self { layer, routes: Vec::new(), grace: GRACE }
    }

    /// Serves a channel.
    ///
    /// # Errors
    /// The name is none of a channel, or of one that belongs to a single process, or has a worker already.
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
        self.routes.push(Route { channel, worker: Arc::new(worker), policy });
        Ok(self)
    }

    /// How long work under way may go on after the stop; then it is dropped. 30 s by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Works for ever.
    pub async fn run(self) {
        self.run_until(std::future::pending()).await;
    }

    /// Works until `stop` is done: nothing more is received, what is under way may end, and what waits to be tried
    /// again is put back into its channel for other workers.
    ///
    /// Dropping the future drops the work that is under way.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        let (jobs, stopping, aborting) =
            (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let _abort = aborting.clone().drop_guard();
        let (grace, reports) = (self.grace, Arc::new(Reports::default()));
        let served: Vec<_> = self
            .routes
            .into_iter()
            .map(|route| {
                let post = Post {
                    route,
                    layer: self.layer.clone(),
                    jobs: jobs.clone(),
                    stopping: stopping.clone(),
                    aborting: aborting.clone(),
                    reports: reports.clone(),
                };
                Box::pin(post.serve())
            })
            .collect();
        let mut stop = pin!(stop);
        let mut all = pin!(futures_util::future::join_all(served));
        // One task for all channels: they only receive; the work has tasks of its own.
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
            tracing::warn!(dropped = jobs.len(), "work that did not end in time is dropped");
        }
    }
}

/// One channel with its worker.
struct Post {
    route: Route,
    layer: Arc<dyn ChannelLayer>,
    jobs: TaskTracker,
    stopping: CancellationToken,
    aborting: CancellationToken,
    /// Limits how often failures are logged.
    reports: Arc<Reports>,
}

impl Post {
    async fn serve(self) {
        let places = Arc::new(Semaphore::new(self.route.policy.concurrency));
        loop {
            // First a place, then a message: what nobody has time for stays in the channel, for other processes.
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

    /// The next message, or nothing once told to stop.
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
                    tracing::error!(%channel, %error, "a worker ends");
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
