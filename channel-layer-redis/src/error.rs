//! Failures between this process and Redis, and the errors that callers get.

use std::time::Duration;

use channel_layer::{Error, backbone::LinkError};

/// The failure of a call to Redis. `Clone`, because one broken connection fails many calls.
///
/// Variants hold no payload and no password: errors are logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The connection broke during the call, which may have taken effect.
    #[error("the connection to Redis broke ({0})")]
    Broken(String),
    /// The layer was closed.
    #[error("the layer was closed")]
    Closed,
    /// The queue of calls is full. The call was not sent.
    #[error("too many calls are waiting to be sent to Redis")]
    QueueFull,
    /// The deadline passed without a reply. The call may still take effect.
    #[error("no answer from Redis within {0:?}")]
    TimedOut(Duration),
    /// A call without a working connection. It was not sent.
    #[error("not connected to Redis")]
    NotConnected,
    /// The server lacks or forbids a command that is required.
    #[error("{subject} needs {command}, which Redis refuses: {reason}")]
    MissingCommand {
        command: String,
        /// The part of the crate that requires it.
        subject: String,
        /// The message of Redis.
        reason: String,
    },
    /// A call without a link, for this reason of the engine. It was not sent.
    #[error("{0}")]
    NoLink(String),
    /// The server is a replica; a message published there reaches no other server.
    #[error("the server at {0} is not a master")]
    NotMaster(String),
    /// Some of several hosts failed; others may have accepted their part.
    #[error("sent to some of the groups only: {0}")]
    Partial(Box<CallError>),
    /// Redis answered with an error.
    #[error("Redis refused: {code} {detail}")]
    Refused {
        /// `OOM`, `MISCONF`, `NOAUTH` ...
        code: String,
        /// The rest of the message.
        detail: String,
    },
    /// The reply has an unexpected type.
    #[error("an unexpected reply to {0}")]
    UnexpectedReply(&'static str),
    /// The server could not be found or connected to.
    #[error("cannot connect to Redis ({0})")]
    Unreachable(String),
}

impl CallError {
    /// Whether the server does not know a script. The script was not run.
    pub(crate) fn is_unknown_script(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "NOSCRIPT")
    }

    /// Whether the server refuses something to this user.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "NOPERM")
    }

    /// Whether the server lacks a command, or refuses it to this user whatever its arguments.
    pub(crate) fn is_missing_command(&self) -> bool {
        let Self::Refused { detail, .. } = self else { return false };
        let text = detail.to_ascii_lowercase();
        let signs = ["unknown command", "unsupported command", "can't run this command"];
        signs.iter().any(|sign| text.contains(sign)) || self.is_forbidden() && text.contains("command")
    }

    /// Whether the call certainly had no effect.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::Closed
            | Self::QueueFull
            | Self::NotConnected
            | Self::NoLink(_)
            | Self::NotMaster(_)
            | Self::Unreachable(_) => true,
            Self::Refused { code, .. } => is_temporary(code),
            _ => false,
        }
    }

    /// Whether the connection is absent, slow or broken, as opposed to a refused call.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Broken(_)
            | Self::TimedOut(_)
            | Self::NotConnected
            | Self::MissingCommand { .. }
            | Self::NoLink(_)
            | Self::NotMaster(_)
            | Self::Unreachable(_) => true,
            Self::Closed
            | Self::QueueFull
            | Self::Partial(_)
            | Self::Refused { .. }
            | Self::UnexpectedReply(_) => false,
        }
    }

    /// The outcome of one message to several hosts. It is unsent only if no part of it was sent.
    pub(crate) fn combine<T>(parts: impl IntoIterator<Item = Result<T, Self>>) -> Result<(), Self> {
        let (mut unsent, mut sent) = (None, None);
        for part in parts {
            match part {
                Err(error) if error.is_unsent() => unsent = unsent.or(Some(error)),
                Ok(_) => sent = sent.or(Some(Ok(()))),
                Err(error) => sent = Some(Err(error)),
            }
        }
        match (unsent, sent) {
            (Some(error), Some(_)) => Err(Self::Partial(Box::new(error))),
            (Some(error), None) => Err(error),
            (None, sent) => sent.unwrap_or(Ok(())),
        }
    }
}

/// Temporary refusals: the command had no effect, and its content is not the reason.
const TEMPORARY: [&str; 11] = [
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOAUTH",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
];

fn is_temporary(code: &str) -> bool {
    TEMPORARY.contains(&code)
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::Closed,
            CallError::TimedOut(limit) => Self::TimedOut(limit),
            CallError::Refused { ref code, .. } if is_temporary(code) => Self::Unavailable(error.into()),
            CallError::Broken(_) | CallError::Partial(_) => Self::Interrupted(error.into()),
            CallError::MissingCommand { .. } | CallError::Refused { .. } | CallError::UnexpectedReply(_) => {
                Self::Backend(error.into())
            }
            CallError::QueueFull
            | CallError::NotConnected
            | CallError::NoLink(_)
            | CallError::NotMaster(_)
            | CallError::Unreachable(_) => Self::Unavailable(error.into()),
        }
    }
}

impl From<CallError> for LinkError {
    fn from(error: CallError) -> Self {
        Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_success_is_not_unsent() {
        let deadline = || CallError::TimedOut(Duration::ZERO);
        assert_eq!(CallError::combine([Ok(1), Ok(2)]), Ok(()));
        assert_eq!(
            CallError::combine::<()>([Err(CallError::NotConnected), Err(CallError::QueueFull)]),
            Err(CallError::NotConnected)
        );
        assert_eq!(CallError::combine([Ok(1), Err(deadline())]), Err(deadline()));
        for part in [Ok(1), Err(deadline())] {
            let outcome = CallError::combine([Err(CallError::NotConnected), part]).unwrap_err();
            assert!(!Error::from(outcome).is_transient());
        }
    }

    #[test]
    fn only_unsent_calls_are_transient() {
        for unsent in
            [CallError::QueueFull, CallError::NotConnected, CallError::NoLink("it is away".to_owned())]
        {
            assert!(Error::from(unsent).is_transient());
        }
        for ambiguous in [CallError::TimedOut(Duration::ZERO), CallError::Broken(String::new())] {
            assert!(!Error::from(ambiguous).is_transient());
        }
    }
}
