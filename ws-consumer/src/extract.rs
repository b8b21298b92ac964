//! The handlers of axum beside this crate's services (feature `axum`).
//!
//! A handler takes the user and the session that the [guards](crate::middleware) in front have found, and may return
//! [`Error`]: its response is the one that a client gets from a consumer before it is accepted.
//!
//! ```
//! # #[cfg(feature = "auth")] {
//! # use ws_consumer::{Result, middleware::{Authenticator, Identity}};
//! # struct User { name: String } impl Identity for User { fn id(&self) -> String { self.name.clone() } }
//! # struct Users; impl Authenticator for Users { type User = User; }
//! use axum::routing::get;
//! use ws_consumer::{Protocols, Router};
//! use ws_consumer::extract::{CurrentSession, CurrentUser};
//! use ws_consumer::middleware::{Auth, Guard, MemoryStore, Sessions, auth_stack};
//!
//! async fn greet(CurrentUser(user): CurrentUser<User>) -> String {
//!     format!("hello {}", user.name)
//! }
//! async fn count(user: Option<CurrentUser<User>>, CurrentSession(session): CurrentSession) -> Result<String> {
//!     let visits = session.get::<u64>("visits").await?.unwrap_or(0) + 1;
//!     session.insert("visits", visits).await?;
//!     Ok(format!("visit {visits} of {}", user.map_or("a stranger", |_| "a user")))
//! }
//!
//! let store = MemoryStore::default(); // one for both: clones share the sessions
//! let guards = || auth_stack(Sessions::new(store.clone()), Auth::new(Users));
//! let pages: axum::Router = axum::Router::new().route("/", get(greet)).route("/count", get(count));
//! let pages = pages.layer(guards().layer());
//! let sockets = guards().around(Router::new());
//! let service = Protocols::new().websocket(sockets).http(pages).into_service(channel_layer::MemoryLayer::default());
//! # }
//! ```

#[cfg(feature = "sessions")]
pub use self::parts::CurrentSession;
#[cfg(feature = "auth")]
pub use self::parts::CurrentUser;
#[cfg(feature = "sessions")]
pub use self::parts::ExtractError;
use std::{fmt, sync::Arc};

use axum::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use channel_layer::ChannelLayer;
use http::request::Parts;

use crate::{
    error::{Error, Fault},
    wire::Refuse,
};

/// Failures of the server and of the channel layer are logged with their causes, as those of a consumer are.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self.fault() {
            Fault::Server => tracing::error!(error = %self.causes(), "a handler failed"),
            Fault::Layer => tracing::warn!(error = %self.causes(), "a handler could not reach others"),
            Fault::Overload => {
                tracing::warn!(error = %self.causes(), "a handler found the server overloaded")
            }
            Fault::Client | Fault::None => {}
        }
        Refuse::from(&self).into_response()
    }
}

impl IntoResponse for Refuse {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The channel layer of the service in front: [`Protocols::http`](crate::Protocols::http) hands it to all handlers.
///
/// ```
/// use axum::routing::post;
/// use channel_layer::{ChannelLayerExt, MemoryLayer};
/// use ws_consumer::{Protocols, Result, Router, extract::CurrentLayer};
///
/// async fn announce(CurrentLayer(layer): CurrentLayer, text: String) -> Result<()> {
///     layer.group_send_text("news", text).await?;
///     Ok(())
/// }
///
/// let pages: axum::Router = axum::Router::new().route("/announce", post(announce));
/// let service = Protocols::new().websocket(Router::new()).http(pages).into_service(MemoryLayer::default());
/// ```
///
/// Elsewhere, such as behind axum's own server, it is missing, which is a mistake of the server: 500.
#[derive(Clone)]
pub struct CurrentLayer(pub Arc<dyn ChannelLayer>);

impl<S: Sync> FromRequestParts<S> for CurrentLayer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let missing = || Error::other("no channel layer: the handler is not behind `Protocols::http`");
        parts.extensions.get().cloned().ok_or_else(missing)
    }
}

impl fmt::Debug for CurrentLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentLayer").finish_non_exhaustive()
    }
}

/// The findings of guards in a request.
#[cfg(feature = "sessions")]
mod parts {
    #[cfg(feature = "auth")]
    use std::sync::Arc;
    use std::{any::type_name, error::Error as StdError, fmt};

    use axum::{
        extract::{FromRequestParts, OptionalFromRequestParts},
        response::{IntoResponse, Response},
    };
    use http::{StatusCode, request::Parts};

    use crate::middleware::Session;
    #[cfg(feature = "auth")]
    use crate::middleware::{self, Identity};

    /// The user of a request, behind [`Auth`](crate::middleware::Auth). An anonymous request is rejected with 401;
    /// `Option<CurrentUser<U>>` admits it.
    #[cfg(feature = "auth")]
    #[derive(Debug)]
    pub struct CurrentUser<U>(pub Arc<U>);

    /// The session of a request, behind [`Sessions`](crate::middleware::Sessions), which saves it with the response.
    /// `Option<CurrentSession>` is `None` without that guard.
    #[derive(Clone, Debug)]
    pub struct CurrentSession(pub Session);

    /// The reason why a handler cannot take a user or a session.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum ExtractError {
        /// The request is anonymous: 401.
        Anonymous,
        /// The guard of this name is not in front of the handler, a mistake of the server: 500.
        MissingGuard(&'static str),
        /// The guard in front identifies users of another type than this one, a mistake of the server: 500.
        OtherUserType(&'static str),
    }

    impl fmt::Display for ExtractError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Anonymous => f.write_str("not logged in"),
                Self::MissingGuard(guard) => {
                    write!(
                        f,
                        "the guard `{guard}` is not in front of this handler: add it with `guard.layer()`"
                    )
                }
                Self::OtherUserType(name) => {
                    write!(
                        f,
                        "the guard `Auth` in front of this handler does not identify users of type `{name}`"
                    )
                }
            }
        }
    }

    impl StdError for ExtractError {}

    impl IntoResponse for ExtractError {
        fn into_response(self) -> Response {
            #[cfg(feature = "auth")]
            if self == Self::Anonymous {
                return middleware::unauthorized().into_response();
            }
            tracing::error!(error = %self, "a handler could not be called");
            (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
        }
    }

    #[cfg(feature = "auth")]
    impl<U: Identity, S: Send + Sync> OptionalFromRequestParts<S> for CurrentUser<U> {
        type Rejection = ExtractError;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ExtractError> {
            let extensions = &parts.extensions;
            match middleware::user::<U>(extensions) {
                Some(user) => Ok(Some(Self(user.clone()))),
                None if !middleware::is_authenticated(extensions) => Err(ExtractError::MissingGuard("Auth")),
                None if extensions.get::<crate::scope::UserId>().is_some() => {
                    Err(ExtractError::OtherUserType(type_name::<U>()))
                }
                None => Ok(None),
            }
        }
    }

    #[cfg(feature = "auth")]
    impl<U: Identity, S: Send + Sync> FromRequestParts<S> for CurrentUser<U> {
        type Rejection = ExtractError;

        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractError> {
            let user = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
            user.ok_or(ExtractError::Anonymous)
        }
    }

    impl<S: Send + Sync> OptionalFromRequestParts<S> for CurrentSession {
        type Rejection = ExtractError;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ExtractError> {
            Ok(parts.extensions.get::<Session>().cloned().map(Self))
        }
    }

    impl<S: Send + Sync> FromRequestParts<S> for CurrentSession {
        type Rejection = ExtractError;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractError> {
            let session = parts.extensions.get::<Session>().cloned();
            session.map(Self).ok_or(ExtractError::MissingGuard("Sessions"))
        }
    }
}
