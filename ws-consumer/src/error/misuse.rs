//! Mistakes in the arguments of a call.

use std::{error::Error as StdError, fmt, panic::Location};

/// An invalid argument in a call of a socket's method: a mistake in the consumer's code, not of its client.
#[derive(Debug)]
pub struct MisuseError {
    call: &'static str,
    at: &'static Location<'static>,
    source: channel_layer::Error,
}

impl MisuseError {
    #[track_caller]
    pub(crate) fn new(call: &'static str, source: impl Into<channel_layer::Error>) -> Self {
        Self { call, at: Location::caller(), source: source.into() }
    }

    /// The name of the called method.
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// The place of the call in the consumer's source.
    pub fn location(&self) -> &'static Location<'static> {
        self.at
    }
}

impl fmt::Display for MisuseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at {} got an invalid argument", self.call, self.at)
    }
}

impl StdError for MisuseError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}
