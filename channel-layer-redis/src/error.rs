//! What can go wrong between this process and Redis, and what the caller is told of it.

use std::time::Duration;

use channel_layer::Error;

/// A fault on the way to Redis. `Clone`, because one broken connection fails many calls.
///
/// No variant holds a payload or a password: faults are logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The connection broke while the call was under way: it may have taken effect.
    #[error("the connection to Redis broke ({0})")]
    Broken(String),
    /// This side ended it.
    #[error("the layer was closed")]
    Closed,
    /// Nothing was sent: too many calls wait for their turn.
    #[error("too many calls wait to be sent to Redis")]
    Crowded,
    /// No answer in time: the call may still take effect.
    #[error("no answer from Redis within {0:?}")]
    Deadline(Duration),
    /// Nothing was sent: there is no working connection at present.
    #[error("not connected to Redis")]
    Down,
    /// The server that answered is a replica; what is published there reaches nobody else.
    #[error("the server at {0} is not a master")]
    NotMaster(String),
    /// Redis answered with an error.
    #[error("Redis refused: {code} {detail}")]
    Refused {
        /// `OOM`, `MISCONF`, `NOAUTH` ...
        code: String,
        /// What it says beyond the code.
        detail: String,
    },
    /// Redis answered something that the command never answers.
    #[error("an unexpected reply to {0}")]
    UnexpectedReply(&'static str),
    /// No server could be found, or it could not be connected to.
    #[error("cannot connect to Redis ({0})")]
    Unreachable(String),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Closed => Self::Closed,
            Fault::Deadline(limit) => Self::TimedOut(limit),
            Fault::Broken(_) | Fault::Refused { .. } | Fault::UnexpectedReply(_) => {
                Self::Backend(fault.into())
            }
            Fault::Crowded | Fault::Down | Fault::NotMaster(_) | Fault::Unreachable(_) => {
                Self::Unavailable(fault.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_surely_not_sent_may_be_retried() {
        for unsent in [Fault::Crowded, Fault::Down] {
            assert!(Error::from(unsent).is_transient());
        }
        for ambiguous in [Fault::Deadline(Duration::ZERO), Fault::Broken(String::new())] {
            assert!(!Error::from(ambiguous).is_transient());
        }
    }
}
