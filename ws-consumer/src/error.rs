//! What a hook may answer instead of `Ok`, and what the peer then sees.

use std::{any::Any, error::Error as StdError, fmt, mem, time::Duration};

use http::StatusCode;

/// A cause of any type.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The result of hooks and of the socket's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a hook or a socket's function failed.
///
/// Any error converts into it by `?`, and counts as [`Other`](Self::Other); that is why it does not implement
/// [`std::error::Error`] itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What the client sent cannot be used: 400 before the socket is accepted; after it the consumer's
    /// [`error`](crate::Consumer::error) hook decides.
    BadInput(BoxError),
    /// The connection has ended, or the client's side of it.
    Closed,
    /// The channel layer failed.
    Layer(channel_layer::Error),
    /// A frame was sent before the socket was accepted.
    NotAccepted,
    /// Anything else: 500 before the socket is accepted, close code 1011 after it.
    Other(BoxError),
    /// A hook panicked. Treated as [`Other`](Self::Other).
    Panic(String),
    /// The connection is refused with this status: the short form of [`Socket::refuse`](crate::Socket::refuse).
    Refused(StatusCode),
    /// The client did not answer a request in time.
    TimedOut(Duration),
}

impl Error {
    /// The client's fault, in words that the client may read.
    pub fn bad_input(cause: impl Into<BoxError>) -> Self {
        Self::BadInput(cause.into())
    }

    /// Any other failure. The client never reads it.
    pub fn other(cause: impl Into<BoxError>) -> Self {
        Self::Other(cause.into())
    }

    /// Is it the client's fault?
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::BadInput(_) => true,
            Self::Layer(error) => error.is_bad_input(),
            _ => false,
        }
    }

    /// What a client sees that has not been accepted yet.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Refused(status) => *status,
            _ if self.is_bad_input() => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn from_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panic(text.unwrap_or_else(|| "a value that is no text".to_owned()))
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        // The layer's errors keep their meaning; a name that a client made up is the client's fault.
        let mut slot = Some(error);
        if let Some(layer) = (&mut slot as &mut dyn Any).downcast_mut::<Option<channel_layer::Error>>() {
            return mem::take(layer).map_or(Self::Closed, Self::Layer);
        }
        if let Some(name) = (&mut slot as &mut dyn Any).downcast_mut::<Option<channel_layer::NameError>>() {
            return mem::take(name).map_or(Self::Closed, |name| Self::Layer(name.into()));
        }
        slot.map_or(Self::Closed, |error| Self::Other(error.into()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadInput(error) => write!(f, "{error}"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::Layer(error) => write!(f, "{error}"),
            Self::NotAccepted => f.write_str("the socket was not accepted"),
            Self::Other(error) => write!(f, "{error}"),
            Self::Panic(text) => write!(f, "a hook panicked: {text}"),
            Self::Refused(status) => write!(f, "refused with {status}"),
            Self::TimedOut(time) => write!(f, "the client did not answer within {time:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_name_is_the_clients_fault_however_it_comes() {
        let name = "no spaces".parse::<channel_layer::GroupName>().unwrap_err();
        assert_eq!(Error::from(name).status(), StatusCode::BAD_REQUEST);
        let layer = channel_layer::Error::from(name);
        assert_eq!(Error::from(layer).status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_foreign_error_is_a_fault_of_the_server() {
        let error = Error::from(std::io::Error::other("disk"));
        assert!(matches!(error, Error::Other(_)));
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
