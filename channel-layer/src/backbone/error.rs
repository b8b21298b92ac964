//! Failures between this process and its bus.

use std::{fmt, sync::Arc, time::Duration};

use crate::error::{BoxError, Error};

/// A failure of a call to the bus. Cloneable, because one broken link fails many calls.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link is down, for this reason. The call was not sent.
    #[error("not connected: {0}")]
    Away(Box<LinkError>),
    /// The layer was closed.
    #[error("the layer was closed")]
    Closed,
    /// The queue of calls is full. The call was not sent.
    #[error("too many calls are waiting to be sent")]
    QueueFull,
    /// The deadline passed without an answer. The call may still take effect.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The link is down. The call was not sent.
    #[error("not connected")]
    Down,
    /// The error of the backend.
    #[error("{}", cause(.0))]
    Failed(Arc<Error>),
    /// A task of the engine panicked, which is a defect. It continues with a new link.
    #[error("panicked: {0}")]
    Panicked(String),
    /// A shard failed, and others may have taken their part of the message.
    #[error("sent to only some of the groups: {0}")]
    Partly(Box<LinkError>),
}

impl LinkError {
    /// Whether the call certainly had no effect.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Away(_) | Self::Closed | Self::QueueFull | Self::Down => true,
            Self::Failed(error) => matches!(**error, Error::Unavailable(_)),
            Self::Deadline(_) | Self::Panicked(_) | Self::Partly(_) => false,
        }
    }

    /// Whether the link is down, slow or broken, as opposed to a call that was refused.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Away(_) | Self::Deadline(_) | Self::Down | Self::Panicked(_) => true,
            Self::Failed(error) => error.is_outage(),
            Self::Closed | Self::QueueFull | Self::Partly(_) => false,
        }
    }

    /// Whether the link is unusable after this failure.
    pub(super) fn ends_link(&self) -> bool {
        match self {
            Self::Deadline(_) | Self::Panicked(_) | Self::Closed | Self::Down => true,
            Self::Failed(error) => error.is_uncertain(),
            Self::Away(_) | Self::QueueFull | Self::Partly(_) => false,
        }
    }

    /// The kind of failure, by which warnings are counted.
    pub fn kind(&self) -> String {
        match self {
            Self::Away(error) | Self::Partly(error) => error.kind(),
            other => other.to_string(),
        }
    }

    /// Combines the outcomes of one message to several groups. It counts as unsent only if no part was sent.
    pub(super) fn combine<T>(parts: impl IntoIterator<Item = Result<T, Self>>) -> Result<(), Self> {
        let (mut unsent, mut sent) = (None, None);
        for part in parts {
            match part {
                // Every shard would have refused it.
                Err(Self::Failed(error)) if error.is_bad_input() => return Err(Self::Failed(error)),
                Err(error) if error.is_unsent() => unsent = unsent.or(Some(error)),
                Ok(_) => sent = sent.or(Some(Ok(()))),
                Err(error) => sent = Some(Err(error)),
            }
        }
        match (unsent, sent) {
            (Some(error), Some(_)) => Err(Self::Partly(Box::new(error))),
            (Some(error), None) => Err(error),
            (None, sent) => sent.unwrap_or(Ok(())),
        }
    }
}

impl From<Error> for LinkError {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Self::Closed,
            error => Self::Failed(Arc::new(error)),
        }
    }
}

impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Closed => Self::Closed,
            LinkError::Deadline(limit) => Self::TimedOut(limit),
            LinkError::Failed(error) => copy(&error),
            LinkError::Panicked(_) => Self::Backend(error.into()),
            LinkError::Partly(_) => Self::Interrupted(error.into()),
            LinkError::Away(_) | LinkError::QueueFull | LinkError::Down => Self::Unavailable(error.into()),
        }
    }
}

/// An error of the same variant, whose cause is shared.
fn copy(error: &Arc<Error>) -> Error {
    let shared = || SharedCauseError(error.clone()).into();
    match &**error {
        Error::ChannelFull { channel } => Error::ChannelFull { channel: channel.clone() },
        Error::ChannelOwned { channel } => Error::ChannelOwned { channel: channel.clone() },
        Error::Closed => Error::Closed,
        Error::Config(config) => Error::Config(config.clone()),
        Error::InsideRuntime => Error::InsideRuntime,
        Error::InvalidFilter(filter) => Error::InvalidFilter(filter.clone()),
        Error::InvalidMessage(_) => Error::InvalidMessage(shared()),
        Error::InvalidName(name) => Error::InvalidName(*name),
        Error::TimedOut(limit) => Error::TimedOut(*limit),
        Error::Unsupported(what) => Error::Unsupported(what),
        Error::Unavailable(_) => Error::Unavailable(shared()),
        Error::Interrupted(_) => Error::Interrupted(shared()),
        Error::Backend(_) => Error::Backend(shared()),
    }
}

/// The cause of an error that several callers get.
#[derive(Debug)]
struct SharedCauseError(Arc<Error>);

impl fmt::Display for SharedCauseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&cause(&self.0))
    }
}

impl std::error::Error for SharedCauseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        boxed(&self.0).and_then(|cause| cause.source())
    }
}

fn boxed(error: &Error) -> Option<&BoxError> {
    match error {
        Error::Backend(cause)
        | Error::InvalidMessage(cause)
        | Error::Interrupted(cause)
        | Error::Unavailable(cause) => Some(cause),
        _ => None,
    }
}

/// The text of the backend, without the prefix of [`Error`].
fn cause(error: &Error) -> String {
    boxed(error).map_or_else(|| error.to_string(), |cause| cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: Error) -> LinkError {
        error.into()
    }

    #[test]
    fn partial_success_is_not_unsent() {
        let deadline = || LinkError::Deadline(Duration::ZERO);
        assert!(LinkError::combine([Ok(1), Ok(2)]).is_ok());
        let none = LinkError::combine::<()>([Err(LinkError::Down), Err(LinkError::QueueFull)]);
        assert!(matches!(none, Err(LinkError::Down)));
        assert!(matches!(LinkError::combine([Ok(1), Err(deadline())]), Err(LinkError::Deadline(_))));
        for part in [Ok(1), Err(deadline())] {
            let outcome = LinkError::combine([Err(LinkError::Down), part]).unwrap_err();
            assert!(!Error::from(outcome).is_transient());
        }
    }

    #[test]
    fn only_unsent_calls_are_transient() {
        let away = || failed(Error::Unavailable("full".into()));
        for unsent in [LinkError::QueueFull, LinkError::Down, away(), LinkError::Away(Box::new(away()))] {
            assert!(unsent.is_unsent() && Error::from(unsent).is_transient());
        }
        for uncertain in [LinkError::Deadline(Duration::ZERO), failed(Error::Interrupted("cut".into()))] {
            assert!(uncertain.ends_link() && Error::from(uncertain).is_uncertain());
        }
    }

    #[test]
    fn shared_errors_keep_their_text() {
        let error = failed(Error::Backend("NOPERM no permission".into()));
        let (one, two) = (Error::from(error.clone()), Error::from(error));
        assert!(matches!((&one, &two), (Error::Backend(_), Error::Backend(_))));
        assert_eq!(one.to_string(), "the channel layer's backend failed: NOPERM no permission");
        assert_eq!(two.to_string(), one.to_string());
    }
}
