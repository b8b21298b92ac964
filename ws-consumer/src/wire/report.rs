//! Logging of failures.

use std::mem::discriminant;

use super::link::Link;
use crate::{
    error::{Error, Fault},
    scope::printable,
};

impl Link {
    /// Logs a failure, at most once a second for each kind. `hook`: what failed.
    pub(crate) fn report(&self, path: Option<&str>, hook: &'static str, error: &Error) {
        let reports = self.note_reported(error);
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
            Fault::Server => {
                let error = one_line(&error.causes().to_string());
                let Some(failures) = reports.due(&error) else { return };
                tracing::error!(path, hook, error, failures, "a consumer failed");
            }
        }
    }
}

/// Errors may quote clients, and a log's line is to stay one.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'), " ")
}
