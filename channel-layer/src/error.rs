//! What can go wrong, one variant per different reaction of the caller.

use std::{convert::Infallible, time::Duration};

/// A cause that only its own backend understands.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call on a channel layer failed.
///
/// Messages name the channel or group, never the payload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The backend refused or broke; the source says how.
    #[error("the channel layer's backend failed")]
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
    /// A channel's or group's name breaks the rules.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// No answer in time. The call may still take effect later, so it is not retried blindly.
    #[error("no answer from the channel layer within {0:?}")]
    TimedOut(Duration),
    /// The backend cannot be reached at present; trying later may help.
    #[error("the channel layer's backend cannot be reached")]
    Unavailable(#[source] BoxError),
    /// This backend has no such ability: see [`Capabilities`](crate::Capabilities).
    #[error("this channel layer does not support {0}")]
    Unsupported(&'static str),
}

impl Error {
    /// May the same call succeed later, without the caller changing anything?
    ///
    /// A timeout is not transient in this sense: the call may have taken effect.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::ChannelFull { .. } | Self::Unavailable(_))
    }

    /// Is the fault in what the caller passed in?
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::Config(_) | Self::InvalidMessage(_) | Self::InvalidName(_))
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
