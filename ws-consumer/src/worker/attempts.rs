//! The attempts to handle a message, and the waits between them.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use channel_layer::Causes;
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{handler::DynWorker, job::Job, policy::RetryPolicy};
use crate::error::{Error, FailureReports, Result};

pub(super) struct Attempts {
    pub(super) worker: Arc<dyn DynWorker>,
    pub(super) policy: RetryPolicy,
    pub(super) job: Job,
    pub(super) stopping: CancellationToken,
    pub(super) reports: Arc<FailureReports>,
}

impl Attempts {
    pub(super) async fn run(mut self) {
        loop {
            let outcome = self.attempt().await;
            let Err(error) = &outcome else { return self.job.done(&outcome).await };
            let wait = self.policy.wait_after(self.job.attempt).filter(|_| !would_fail_again(error));
            self.log(error, wait);
            let Some(wait) = wait else { return self.job.done(&outcome).await };
            let waited = self.stopping.run_until_cancelled(sleep(wait)).await;
            if waited.is_none() {
                return self.put_back().await;
            }
            self.job.attempt += 1;
        }
    }

    async fn attempt(&self) -> Result<()> {
        let handled = AssertUnwindSafe(async { self.worker.handle(&self.job).await }).catch_unwind();
        match timeout(self.policy.deadline, handled).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(Error::from_panic(&*panic)),
            Err(_) => Err(Error::other(format!("not done within {:?}", self.policy.deadline))),
        }
    }

    /// Sends the message to its channel again, for other workers.
    async fn put_back(&self) {
        if let Err(error) = self.job.layer().send(self.job.channel(), self.job.message().clone()).await {
            let error = Causes(&error);
            tracing::error!(channel = %self.job.channel(), %error, "a message that waited for a retry is lost");
        }
    }

    fn log(&self, error: &Error, wait: Option<Duration>) {
        let (channel, attempt, r#type) =
            (self.job.channel(), self.job.attempt, self.job.message().event_type());
        let error = error.causes().to_string();
        let Some(failures) = self.reports.due((channel, wait.is_some(), &error)) else { return };
        match wait {
            Some(wait) => {
                tracing::warn!(%channel, r#type, attempt, error, failures, ?wait, "a worker failed: retrying");
            }
            None => tracing::error!(%channel, r#type, attempt, error, failures, "a worker failed: given up"),
        }
    }
}

/// Whether the cause is the worker's input or one of its arguments. A retry helps in neither case.
fn would_fail_again(error: &Error) -> bool {
    match error {
        Error::BadInput(_) | Error::Misuse(_) => true,
        Error::Layer(layer) => layer.is_bad_input(),
        _ => false,
    }
}
