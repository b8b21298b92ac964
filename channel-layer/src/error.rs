//! The errors of this crate, one variant for each reaction of the caller.

use std::{convert::Infallible, fmt, time::Duration};

use crate::value::{DecodeError, ValueError};

/// A cause that is specific to a backend.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The failure of a call on a channel layer.
///
/// Messages name the channel or group, never the payload. A backend's causes are included, so that a log with `%error`
/// shows them; [`source`](std::error::Error::source) has them as well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The backend refused the call, for the reason in the source. Sending it again will not help.
    #[error("the channel layer's backend failed: {}", chain(.0))]
    Backend(#[source] BoxError),
    /// The channel holds as many unread messages as it may. The message was not queued.
    #[error("channel `{channel}` is full")]
    ChannelFull {
        /// The channel's name.
        channel: String,
    },
    /// The channel belongs to an open [`Mailbox`](crate::Mailbox). Only the mailbox receives from it.
    #[error("channel `{channel}` is received by its mailbox only")]
    ChannelOwned {
        /// The channel's name.
        channel: String,
    },
    /// The layer was closed.
    #[error("the channel layer is closed")]
    Closed,
    /// A setting, or an address with settings, is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A task of an asynchronous runtime made a call of a [`BlockingLayer`](crate::blocking::BlockingLayer), which would
    /// have stopped the thread of its runtime. Nothing was done.
    #[error(
        "a blocking call inside of an asynchronous task: await the layer itself, or use `spawn_blocking`"
    )]
    InsideRuntime,
    /// A filter over tags cannot be used.
    #[error(transparent)]
    InvalidFilter(#[from] FilterError),
    /// The message, or a value to be converted into one, is invalid. Sending it again will not help.
    #[error("invalid message")]
    InvalidMessage(#[source] BoxError),
    /// The connection broke during the call, or only a part of the backend took it. The call may have taken effect, so
    /// do not retry it blindly.
    #[error("the call to the channel layer's backend was interrupted: {}", chain(.0))]
    Interrupted(#[source] BoxError),
    /// A channel's or group's name breaks the rules.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// The deadline passed without an answer. The call may still take effect later, so do not retry it blindly.
    #[error("no answer from the channel layer within {0:?}")]
    TimedOut(Duration),
    /// The backend cannot be reached at present, or takes no more calls. The call had no effect. Trying later may help.
    #[error("the channel layer's backend is not available: {}", chain(.0))]
    Unavailable(#[source] BoxError),
    /// The backend lacks this ability: see [`Capabilities`](crate::Capabilities).
    #[error("this channel layer does not support {0}")]
    Unsupported(&'static str),
}

impl Error {
    /// Whether the same call may succeed later, without a change by the caller.
    ///
    /// An [uncertain](Self::is_uncertain) outcome is not transient in this sense: the call may have taken effect.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::ChannelFull { .. } | Self::Unavailable(_))
    }

    /// Whether the backend is down, slow or broken at present, through no fault of the caller. The error is temporary:
    /// connections and sessions survive it.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_)) || self.is_uncertain()
    }

    /// Whether the call may have taken effect although it failed. Do not repeat the call silently: a message could
    /// arrive twice.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Interrupted(_) | Self::TimedOut(_))
    }

    /// Whether the error lies in an argument of the caller.
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Config(_) | Self::InvalidFilter(_) | Self::InvalidMessage(_) | Self::InvalidName(_)
        )
    }
}

/// An error with the chain of its causes, for a log: `no connection: refused: WRONGPASS`.
///
/// Leaves out causes that the text of the error before them includes.
///
/// ```
/// use channel_layer::{Causes, Error};
///
/// let error = Error::InvalidMessage("no map".into());
/// assert_eq!(Causes(&error).to_string(), "invalid message: no map");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn std::error::Error + 'static));

/// The longest chain of causes that is shown. An error that is its own source would be endless.
const MOST_CAUSES: usize = 16;

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        for cause in std::iter::successors(self.0.source(), |cause| cause.source()).take(MOST_CAUSES) {
            let text = cause.to_string();
            if !shown.contains(&text) {
                shown = format!("{shown}: {text}");
            }
        }
        f.write_str(&shown)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// An invalid setting. Messages name the setting, and never an address, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value of a known option cannot be used.
    #[error("option `{option}`: {reason}")]
    Option {
        /// The option's name.
        option: String,
        /// The requirement that the value does not meet.
        reason: String,
    },
    /// An invalid pattern.
    #[error("pattern `{pattern}`: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The reason.
        reason: String,
    },
    /// An unknown name of a layer.
    #[error("no channel layer is called `{alias}` (there are: {})", list(.known))]
    UnknownAlias {
        /// The requested name.
        alias: String,
        /// The known names.
        known: Vec<String>,
    },
    /// An option that this kind of layer does not have.
    #[error("unknown option `{option}` (known: {})", list(.known))]
    UnknownOption {
        /// The option's name.
        option: String,
        /// The known options.
        known: Vec<String>,
    },
    /// An address with a scheme that was not added to the registry.
    #[error("unknown scheme `{scheme}` (known: {})", list(.known))]
    UnknownScheme {
        /// The part before `://`; empty if there was none.
        scheme: String,
        /// The known schemes.
        known: Vec<String>,
    },
}

fn chain(error: &BoxError) -> String {
    Causes(&**error).to_string()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The reason for which a [filter](crate::TagFilter) over tags cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Another form than a filter's: a field is unknown, or has another type.
    #[error("a filter of another form: {0}")]
    Form(#[from] ValueError),
    /// Text that is no JSON.
    #[error("a filter is JSON: {0}")]
    Json(#[from] DecodeError),
    /// A part that the operator or comparison needs is missing, or another one is too many.
    #[error("`{operation}` takes {takes}")]
    Parts {
        /// The operator or comparison.
        operation: &'static str,
        /// The parts that it takes.
        takes: &'static str,
    },
    /// A value that no tag equals or is compared with: null, bytes, a list, a map or NaN, or a value that is no number
    /// where one is needed.
    #[error("a filter compares with text, numbers and booleans, and orders numbers")]
    Scalar,
    /// Too many levels.
    #[error("a filter has at most {limit} levels")]
    TooDeep {
        /// The most levels.
        limit: usize,
    },
    /// Too many parts, or too much text.
    #[error("a filter has at most {parts} parts, and {bytes} bytes of text")]
    TooLarge {
        /// The most parts.
        parts: usize,
        /// The most bytes of text.
        bytes: usize,
    },
    /// An unknown operator or comparison.
    #[error("unknown {what} of a filter (known: {known})")]
    Unknown {
        /// `operator` or `comparison`.
        what: &'static str,
        /// The known ones.
        known: &'static str,
    },
}

/// A violation of the rules for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A character other than an ASCII letter, a digit, `-`, `_` or `.`.
    #[error("a name holds only ASCII letters, digits, `-`, `_` and `.` (byte {at} is not)")]
    Character {
        /// The offset of the first such character, in bytes.
        at: usize,
    },
    /// An empty name, or an empty part before the `!`.
    #[error("a name must not be empty")]
    Empty,
    /// A name of 100 bytes or more.
    #[error("a name must be shorter than 100 bytes, not {len}")]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct LayeredError {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn shows_each_cause_once() {
        let layered = |text| Box::new(LayeredError { text, source: io::Error::other("WRONGPASS") });
        for error in [Error::Backend, Error::Interrupted, Error::Unavailable] {
            for (text, end) in [
                ("no connection", ": no connection: WRONGPASS"),
                ("refused (WRONGPASS)", ": refused (WRONGPASS)"),
            ] {
                let shown = error(layered(text)).to_string();
                assert!(shown.ends_with(end), "{shown}");
                assert!(std::error::Error::source(&error(layered(text))).is_some());
            }
        }
    }

    #[test]
    fn errors_are_classified() {
        let cause = || BoxError::from("cause");
        let all = [
            (Error::Backend(cause()), "none"),
            (Error::ChannelFull { channel: "a".to_owned() }, "transient"),
            (Error::Closed, "none"),
            (Error::Interrupted(cause()), "uncertain"),
            (Error::InvalidMessage(cause()), "none"),
            (Error::TimedOut(Duration::ZERO), "uncertain"),
            (Error::Unavailable(cause()), "unavailable"),
        ];
        for (error, kind) in all {
            let is = [error.is_transient(), error.is_outage(), error.is_uncertain()];
            let expected = match kind {
                "transient" => [true, false, false],
                "uncertain" => [false, true, true],
                "unavailable" => [true, true, false],
                _ => [false; 3],
            };
            assert_eq!(is, expected, "{error:?}");
        }
    }
}
