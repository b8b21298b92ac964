//! What can go wrong, one variant per different reaction of the caller.

use std::{convert::Infallible, fmt, time::Duration};

/// A cause that only its own backend understands.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call on a channel layer failed.
///
/// Messages name the channel or group, never the payload. A backend's causes are included, so that a log with `%error`
/// shows them; [`source`](std::error::Error::source) has them as well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The backend refused the call; the source says how. Sending it again will not help.
    #[error("the channel layer's backend failed: {}", chain(.0))]
    Backend(#[source] BoxError),
    /// The channel holds as many unread messages as it may. Nothing was queued.
    #[error("channel `{channel}` is full")]
    ChannelFull {
        /// The channel's name.
        channel: String,
    },
    /// The channel belongs to an open [`Mailbox`](crate::Mailbox), which alone receives from it.
    #[error("channel `{channel}` is received by its mailbox only")]
    ChannelOwned {
        /// The channel's name.
        channel: String,
    },
    /// The layer was closed.
    #[error("the channel layer is closed")]
    Closed,
    /// A setting, or an address with settings, makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The message, or a value that was to become one, cannot be used; sending it again will not help.
    #[error("invalid message")]
    InvalidMessage(#[source] BoxError),
    /// The connection broke while the call was under way, or only a part of the backend took it: it may have taken
    /// effect, so it is not retried blindly.
    #[error("the call to the channel layer's backend was interrupted: {}", chain(.0))]
    Interrupted(#[source] BoxError),
    /// A channel's or group's name breaks the rules.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// No answer in time. The call may still take effect later, so it is not retried blindly.
    #[error("no answer from the channel layer within {0:?}")]
    TimedOut(Duration),
    /// The backend cannot be reached at present, or takes nothing. The call had no effect at all; trying later may
    /// help.
    #[error("the channel layer's backend is not available: {}", chain(.0))]
    Unavailable(#[source] BoxError),
    /// This backend has no such ability: see [`Capabilities`](crate::Capabilities).
    #[error("this channel layer does not support {0}")]
    Unsupported(&'static str),
}

impl Error {
    /// May the same call succeed later, without the caller changing anything?
    ///
    /// An [uncertain](Self::is_uncertain) outcome is not transient in this sense: the call may have taken effect.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::ChannelFull { .. } | Self::Unavailable(_))
    }

    /// Returns whether the backend is away, slow or broken at present, through no fault of the caller. Such
    /// an error is temporary: connections and sessions outlive it.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_)) || self.is_uncertain()
    }

    /// Returns whether the call may have taken effect although it failed. Do not repeat such a call silently:
    /// a message could arrive twice.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Interrupted(_) | Self::TimedOut(_))
    }

    /// Is the fault in what the caller passed in?
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::Config(_) | Self::InvalidMessage(_) | Self::InvalidName(_))
    }
}

/// An error with the chain of its causes, for a log: `no connection: refused: WRONGPASS`.
///
/// A cause that the error before it has shown already is left out.
///
/// ```
/// use channel_layer::{Causes, Error};
///
/// let error = Error::InvalidMessage("no map".into());
/// assert_eq!(Causes(&error).to_string(), "invalid message: no map");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn std::error::Error + 'static));

/// The longest chain of causes that is shown: an error that is its own source would be endless.
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

/// Which setting makes no sense. Messages name the setting, and never an address: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value of a known option cannot be used.
    #[error("option `{option}`: {reason}")]
    Option {
        /// The option's name.
        option: String,
        /// What it should have been.
        reason: String,
    },
    /// Not a pattern.
    #[error("pattern `{pattern}`: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// No layer goes by this name.
    #[error("no channel layer is called `{alias}` (there are: {})", list(.known))]
    UnknownAlias {
        /// The name that was asked for.
        alias: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// An option that this kind of layer does not have.
    #[error("unknown option `{option}` (known: {})", list(.known))]
    UnknownOption {
        /// The option's name.
        option: String,
        /// The options there are.
        known: Vec<String>,
    },
    /// An address of a kind that nobody added to the registry.
    #[error("unknown scheme `{scheme}` (known: {})", list(.known))]
    UnknownScheme {
        /// The part before `://`; empty if there was none.
        scheme: String,
        /// The schemes there are.
        known: Vec<String>,
    },
}

fn chain(error: &BoxError) -> String {
    Causes(&**error).to_string()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Which rule for names was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A character other than an ASCII letter, a digit, `-`, `_` or `.`.
    #[error("a name holds only ASCII letters, digits, `-`, `_` and `.` (byte {at} is none of them)")]
    Character {
        /// The offset of the first such character, in bytes.
        at: usize,
    },
    /// Nothing, or nothing before the `!`.
    #[error("a name must not be empty")]
    Empty,
    /// Not shorter than 100 bytes.
    #[error("a name must be shorter than 100 bytes, not {len}")]
    TooLong {
        /// How long it is, in bytes.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layered {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn shows_each_cause_once() {
        let layered = |text| Box::new(Layered { text, source: io::Error::other("WRONGPASS") });
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
