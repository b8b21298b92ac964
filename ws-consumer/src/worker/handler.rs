//! The trait of workers, and its object-safe form.

use std::{marker::PhantomData, pin::Pin};

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

/// A worker that is a function of its event.
///
/// ```
/// # use channel_layer::MemoryLayer;
/// # use ws_consumer::Result;
/// use ws_consumer::worker::{RetryPolicy, Workers, worker_fn};
///
/// #[derive(serde::Deserialize)]
/// struct Print { text: String }
///
/// async fn print(Print { text }: Print) -> Result<()> {
///     println!("{text}");
///     Ok(())
/// }
///
/// # fn workers() -> Result<Workers> {
/// Workers::new(MemoryLayer::default()).channel("printer", worker_fn(print), RetryPolicy::default())
/// # }
/// ```
pub fn worker_fn<E, F, Fut>(handle: F) -> impl Worker
where
    E: DeserializeOwned + Send + 'static,
    F: Fn(E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    WorkerFn { handle, event: PhantomData }
}

struct WorkerFn<F, E> {
    handle: F,
    event: PhantomData<fn(E)>,
}

impl<E, F, Fut> Worker for WorkerFn<F, E>
where
    E: DeserializeOwned + Send + 'static,
    F: Fn(E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    type Event = E;

    fn handle(&self, _: &Job, event: E) -> impl Future<Output = Result<()>> + Send {
        (self.handle)(event)
    }
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
