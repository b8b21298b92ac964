//! Errors of hooks and sockets, and the effect of each on the connection.

mod log;
mod misuse;

use std::{any::Any, error::Error as StdError, fmt, time::Duration};

use channel_layer::Causes;
use http::StatusCode;

pub(crate) use self::log::{FailureReports, LogLimit, one_line, printable};
pub use self::misuse::MisuseError;

/// A cause of any type.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The result of hooks and of the socket's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a hook or a socket's function failed.
///
/// Every type that converts into a [`BoxError`] converts into this type by `?`: every error that is [`Send`]
/// and [`Sync`], `String` and `&str`, `Box<dyn std::error::Error + Send + Sync>`, and `anyhow::Error`. It
/// counts as [`Other`](Self::Other), unless a [`channel_layer::Error`] is among its causes, which keeps its
/// meaning, or the failure of a store of sessions to reach its backend: [`Overloaded`](Self::Overloaded).
///
/// This type does not implement [`std::error::Error`]: an error type that implements it cannot have a conversion from
/// every error, because that conversion would overlap with the reflexive `impl From<T> for T`. `anyhow::Error` makes the
/// same choice. Where an error type is needed, [`causes`](Self::causes) gives the text.
///
/// ```
/// # use ws_consumer::Result;
/// fn parsed(text: &str) -> Result<u16> {
///     let number = text.strip_prefix('#').ok_or("a number begins with `#`")?;
///     Ok(number.parse()?)
/// }
/// fn boxed() -> Result<()> {
///     let failed: Result<(), Box<dyn std::error::Error + Send + Sync>> = Err("disk".into());
///     Ok(failed?)
/// }
/// assert!(parsed("7").is_err() && parsed("#7").is_ok() && boxed().is_err());
/// ```
///
/// A `Box<dyn std::error::Error>` without `Send` and `Sync` does not convert: the standard library has no conversion
/// for it either, and a conversion here would exclude those above. Its text does, by
/// `map_err(|error| error.to_string())?`.
///
/// ```compile_fail,E0277
/// # use ws_consumer::Result;
/// fn boxed(failed: Result<(), Box<dyn std::error::Error>>) -> Result<()> {
///     Ok(failed?)
/// }
/// ```
///
/// # Faults
///
/// [`fault`](Self::fault) returns the party that caused the error. It determines what the client sees and what is logged.
///
/// | error | fault |
/// |---|---|
/// | [`BadInput`](Self::BadInput) | the client's |
/// | [`Layer`](Self::Layer) with `Backend`, `ChannelFull`, `Interrupted`, `TimedOut`, `Unavailable` | the layer's: an outage |
/// | [`Layer`](Self::Layer) with anything else, [`Misuse`](Self::Misuse), [`NotAccepted`](Self::NotAccepted), [`Other`](Self::Other), [`Panic`](Self::Panic), [`TimedOut`](Self::TimedOut) | the server's |
/// | [`Overloaded`](Self::Overloaded) | an overload: the server lacks a resource at present |
/// | [`Closed`](Self::Closed), [`Refused`](Self::Refused) | none |
///
/// # Names
///
/// A name of a group or channel that breaks the rules is the server's mistake, [`Misuse`](Self::Misuse), unless the
/// client chose it: [`BadInput`](Self::BadInput). The functions of [`Socket`](crate::Socket) that take a name look for it
/// among what the client has sent: the parameters and the query of the URL, and the frame, or the body of at most 4 KiB,
/// that was received last. If the name would be valid with the client's texts replaced by valid ones, the client is to
/// blame. A name that is made of them in other ways (from a header, or after a change of its letters) is parsed
/// explicitly: [`GroupName::new`](channel_layer::GroupName::new) with `?` counts as bad input, and so does a field of type
/// [`GroupName`](channel_layer::GroupName) or [`ChannelName`](channel_layer::ChannelName) in what
/// [`Frame::json`](crate::Frame::json) reads. The same holds for a client's [`TagFilter`](channel_layer::TagFilter).
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Unusable input from the client: 400 before the socket is accepted; after it the consumer's
    /// [`error`](crate::Consumer::error) hook decides.
    BadInput(BoxError),
    /// The connection has ended, or the client's side of it.
    Closed,
    /// The channel layer failed. Where that is an [outage](Self::is_layer_outage), 503 before the socket is accepted; after
    /// it the [`error`](crate::Consumer::error) hook decides, and by default the connection lives.
    Layer(channel_layer::Error),
    /// The consumer passed what cannot be used to a function of the socket, such as an event that is no map. Treated as
    /// [`Other`](Self::Other), and logged with the place.
    Misuse(MisuseError),
    /// A frame was sent before the socket was accepted.
    NotAccepted,
    /// Anything else: 500 before the socket is accepted, close code 1011 after it.
    Other(BoxError),
    /// The server lacks a resource at present: the threads of a [`BlockingPool`](crate::BlockingPool), or the store of browser
    /// sessions, which is out of reach. Trying later may help. 503 with `Retry-After` before the socket is accepted, close code 1013 after it.
    Overloaded(BoxError),
    /// A hook panicked. Treated as [`Other`](Self::Other).
    Panic(String),
    /// The connection is refused with this status: the short form of [`Context::refuse`](crate::Context::refuse).
    Refused(StatusCode),
    /// The client did not answer a request in time.
    TimedOut(Duration),
}

/// The party that caused an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The client: its input cannot be used.
    Client,
    /// The channel layer is out of reach, too slow or full at present; trying later may help.
    Layer,
    /// Neither party: the connection has ended, or is refused on purpose.
    None,
    /// The server lacks a resource at present; trying later may help.
    Overload,
    /// The server's: its code, or a dependency other than the channel layer.
    Server,
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

    /// The server is overloaded: it lacks a resource that is free again later, such as a database connection.
    pub fn overloaded(cause: impl Into<BoxError>) -> Self {
        Self::Overloaded(cause.into())
    }

    /// Returns the party that caused the error.
    pub fn fault(&self) -> Fault {
        match self {
            Self::BadInput(_) => Fault::Client,
            Self::Closed | Self::Refused(_) => Fault::None,
            Self::Layer(error) if is_layers(error) => Fault::Layer,
            Self::Overloaded(_) => Fault::Overload,
            Self::Layer(_)
            | Self::Misuse(_)
            | Self::NotAccepted
            | Self::Other(_)
            | Self::Panic(_)
            | Self::TimedOut(_) => Fault::Server,
        }
    }

    /// Returns whether the client caused the error.
    pub fn is_bad_input(&self) -> bool {
        self.fault() == Fault::Client
    }

    /// Returns whether the channel layer is out of reach, too slow or full at present.
    pub fn is_layer_outage(&self) -> bool {
        self.fault() == Fault::Layer
    }

    /// Returns whether the failed call may have taken effect all the same. Such a call should not be repeated
    /// blindly.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Layer(error) if error.is_uncertain())
    }

    /// Returns the default answer to the client for errors after which the connection lives: `{"error":
    /// text}`, with `"uncertain": true` where the call [may have taken effect](Self::is_uncertain) all the
    /// same. `None` for all others: their texts are not meant for clients.
    pub fn answer(&self) -> Option<serde_json::Value> {
        match self.fault() {
            Fault::Client | Fault::Layer if self.is_uncertain() => {
                Some(serde_json::json!({ "error": self.public_text(), "uncertain": true }))
            }
            Fault::Client | Fault::Layer => Some(serde_json::json!({ "error": self.public_text() })),
            Fault::None | Fault::Overload | Fault::Server => None,
        }
    }

    /// Returns a text that a client may read.
    pub(crate) fn public_text(&self) -> String {
        match self {
            Self::BadInput(error) => error.to_string(),
            Self::Layer(error) if error.is_uncertain() => UNCERTAIN.to_owned(),
            Self::Layer(error) if is_layers(error) => NOT_DONE.to_owned(),
            Self::Overloaded(_) => OVERLOADED.to_owned(),
            _ => "failed".to_owned(),
        }
    }

    /// The error with all of its causes, for a log.
    pub fn causes(&self) -> impl fmt::Display {
        struct All<'a>(&'a Error);
        impl fmt::Display for All<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    Error::BadInput(error) | Error::Other(error) | Error::Overloaded(error) => {
                        Causes(&**error).fmt(f)
                    }
                    Error::Layer(error) => Causes(error).fmt(f),
                    Error::Misuse(misuse) => Causes(misuse).fmt(f),
                    error => error.fmt(f),
                }
            }
        }
        All(self)
    }

    /// Returns the status for a client that has not been accepted yet.
    pub(crate) fn status(&self) -> StatusCode {
        match (self, self.fault()) {
            (Self::Refused(status), _) => *status,
            (_, Fault::Client) => StatusCode::BAD_REQUEST,
            (_, Fault::Layer | Fault::Overload) => StatusCode::SERVICE_UNAVAILABLE,
            (_, Fault::None | Fault::Server) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn from_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panic(text.unwrap_or_else(|| "a value that is no text".to_owned()))
    }
}

const NOT_DONE: &str = "not done: the server cannot reach others at present; try again later";
const OVERLOADED: &str = "not done: the server is overloaded at present; try again later";
const UNCERTAIN: &str = "uncertain: no answer in time, it may have been done or not";

impl<E: Into<BoxError>> From<E> for Error {
    fn from(error: E) -> Self {
        let error = match error.into().downcast::<channel_layer::Error>() {
            Ok(layer) => return Self::Layer(*layer),
            Err(error) => error,
        };
        // A name or filter that is parsed explicitly came from outside: see `Error`, "Names".
        if error.is::<channel_layer::NameError>() || error.is::<channel_layer::FilterError>() {
            return Self::BadInput(error);
        }
        match outage(&*error) {
            Some(channel_layer::Error::TimedOut(limit)) => {
                Self::Layer(channel_layer::Error::TimedOut(*limit))
            }
            Some(layer) if layer.is_uncertain() => Self::Layer(channel_layer::Error::Interrupted(error)),
            Some(_) => Self::Layer(channel_layer::Error::Unavailable(error)),
            None if is_store_outage(&*error) => Self::Overloaded(error),
            None => Self::Other(error),
        }
    }
}

/// For a `main`, a test or another function that returns `Box<dyn Error>`. There is no conversion into [`BoxError`], which
/// converts into this type: each would contain the other.
impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        error.causes().to_string().into()
    }
}

/// The layer's outage among the causes of an error.
fn outage<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a channel_layer::Error> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|cause| cause.downcast_ref::<channel_layer::Error>()).filter(|layer| is_layers(layer))
}

/// Returns whether the store of browser sessions is out of reach.
#[cfg(feature = "sessions")]
fn is_store_outage(error: &(dyn StdError + 'static)) -> bool {
    use tower_sessions_core::{session, session_store::Error::Backend};
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    // A session's error is transparent: it stands in the chain of causes in place of the store's.
    causes.any(|cause| {
        matches!(cause.downcast_ref(), Some(Backend(_)))
            || matches!(cause.downcast_ref(), Some(session::Error::Store(Backend(_))))
    })
}

#[cfg(not(feature = "sessions"))]
fn is_store_outage(_: &(dyn StdError + 'static)) -> bool {
    false
}

/// Returns whether the layer itself is at fault. That is no reason to end a connection, even where it does
/// not pass.
fn is_layers(error: &channel_layer::Error) -> bool {
    use channel_layer::Error::{Backend, ChannelFull};
    error.is_outage() || matches!(error, Backend(_) | ChannelFull { .. })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadInput(error) => write!(f, "{error}"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::Layer(error) => write!(f, "{error}"),
            Self::Misuse(misuse) => write!(f, "{misuse}"),
            Self::NotAccepted => f.write_str("the socket was not accepted"),
            Self::Other(error) | Self::Overloaded(error) => write!(f, "{error}"),
            Self::Panic(text) => write!(f, "a hook panicked: {text}"),
            Self::Refused(status) => write!(f, "refused with {status}"),
            Self::TimedOut(time) => write!(f, "the client did not answer within {time:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
