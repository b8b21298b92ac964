//! Logging of failures.

use std::{
    mem::{Discriminant, discriminant},
    sync::Arc,
};

use crate::error::{Error, FailureReports, Fault, one_line, printable};

/// The state of a connection's log of failures.
#[derive(Default)]
pub(super) struct FailureLog {
    /// Limits how often failures are logged; the service's, or created for the first failure.
    reports: Option<Arc<FailureReports>>,
    /// The kind of error that was logged last and ends the connection. Boxed: it is rare.
    reported: Option<Box<Discriminant<Error>>>,
}

impl FailureLog {
    pub(super) fn set_reports(&mut self, reports: Arc<FailureReports>) {
        self.reports = Some(reports);
    }

    /// Remembers that this error is logged.
    pub(super) fn note(&mut self, error: &Error) -> Arc<FailureReports> {
        self.reported = Some(Box::new(discriminant(error)));
        self.reports.get_or_insert_default().clone()
    }

    pub(super) fn was_reported(&self, error: &Error) -> bool {
        self.reported.as_deref() == Some(&discriminant(error))
    }

    /// Forgets the last error: the connection goes on.
    pub(super) fn set_survived(&mut self) {
        self.reported = None;
    }
}

/// Logs a failure, at most once a second for each kind. `hook`: what failed.
pub(super) fn log(reports: &FailureReports, path: Option<&str>, hook: &'static str, error: &Error) {
    let path = path.map(printable);
    let path = path.as_deref();
    match error.fault() {
        Fault::None => {}
        Fault::Client => {
            let error = one_line(&error.to_string());
            tracing::debug!(path, hook, error, "bad input");
        }
        Fault::Layer => {
            let kind = if let Error::Layer(layer) = error { Some(discriminant(layer)) } else { None };
            let Some(failures) = reports.due(kind) else { return };
            let error = one_line(&error.causes().to_string());
            tracing::warn!(path, hook, error, failures, "the channel layer failed");
        }
        Fault::Overload => {
            let error = one_line(&error.causes().to_string());
            let Some(failures) = reports.due(&error) else { return };
            tracing::warn!(path, hook, error, failures, "the server is overloaded");
        }
        Fault::Server => {
            let error = one_line(&error.causes().to_string());
            let Some(failures) = reports.due(&error) else { return };
            tracing::error!(path, hook, error, failures, "a consumer failed");
        }
    }
}
