//! The trait of workers, and its object-safe form.

use std::pin::Pin;

use serde::de::DeserializeOwned;

use super::job::Job;
use crate::error::{Error, Result};

/// Handles the events of one channel.
///
/// One value handles all events, several at a time if its [`RetryPolicy`](super::RetryPolicy) allows it.
pub trait Worker: Send + Sync + 'static {
    /// The type of the events, usually an enum with `#[serde(tag = "type")]`. Other messages are logged and dropped.
    type Event: DeserializeOwned + Send + 'static;

    /// Handles an event.
    ///
    /// # Errors
    /// The work failed, and is retried if the [`RetryPolicy`](super::RetryPolicy) has retries left. [Bad input](Error::BadInput) is not
    /// retried. A panic counts as a failure, and affects no other work.
    fn handle(&self, job: &Job, event: Self::Event) -> impl Future<Output = Result<()>> + Send;
}

type Handling<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A [`Worker`] of any kind.
pub(super) trait DynWorker: Send + Sync {
    fn handle<'a>(&'a self, job: &'a Job) -> Handling<'a>;
}

impl<W: Worker> DynWorker for W {
    fn handle<'a>(&'a self, job: &'a Job) -> Handling<'a> {
        Box::pin(async move {
            // Not a client's input, but a retry cannot help either.
            let event = job.message().decode().map_err(Error::bad_input)?;
            Worker::handle(self, job, event).await
        })
    }
}
