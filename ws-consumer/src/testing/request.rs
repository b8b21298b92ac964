//! The request of a client: what both communicators have in common.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{PATIENCE, PEER};
#[cfg(feature = "auth")]
use crate::middleware::KnownUser;
use crate::scope::{Protocol, Scope, UserId};
#[cfg(feature = "sessions")]
use crate::testing::BrowserSession;

/// A request that is yet to be sent.
pub(super) struct TestRequest {
    pub(super) scope: Scope,
    pub(super) patience: Duration,
}

impl TestRequest {
    pub(super) fn new(protocol: Protocol, path: &str) -> Self {
        let mut scope = Scope::default();
        scope.peer = Some(PEER);
        scope.protocol = protocol;
        scope.uri = path.parse().unwrap_or_else(|fault| panic!("path `{path}`: {fault}"));
        Self { scope, patience: PATIENCE }
    }

    pub(super) fn header(&mut self, name: &str, value: &str) {
        let name: HeaderName = name.parse().unwrap_or_else(|fault| panic!("header `{name}`: {fault}"));
        let value = HeaderValue::from_str(value).unwrap_or_else(|fault| panic!("header `{name}`: {fault}"));
        self.scope.headers.append(name, value);
    }

    pub(super) fn peer(&mut self, peer: SocketAddr) {
        self.scope.peer = Some(peer);
    }

    pub(super) fn user(&mut self, id: &str) {
        self.scope.extensions.insert(UserId(id.into()));
        #[cfg(feature = "auth")]
        self.scope.extensions.insert(KnownUser(id.into()));
    }

    #[cfg(feature = "sessions")]
    pub(super) fn session(&mut self, session: &BrowserSession) {
        session.enter(&mut self.scope.extensions);
    }
}

/// Defines the methods that describe a communicator's request, for a type with the field `request`.
macro_rules! request_settings {
    ($communicator:ty) => {
        impl $communicator {
            /// Adds a header.
            ///
            /// # Panics
            /// When it is invalid.
            pub fn with_header(mut self, name: &str, value: &str) -> Self {
                self.request.header(name, value);
                self
            }

            /// Sets the client's address, instead of one of the loopback interface.
            pub fn with_peer(mut self, peer: std::net::SocketAddr) -> Self {
                self.request.peer(peer);
                self
            }

            /// Sends the request as this user, as if guards in front had identified it: the scope has the
            /// [`UserId`](crate::middleware::UserId), and the connection receives what is
            /// [sent to the user](crate::UsersExt).
            ///
            /// Behind [`Auth`](crate::middleware::Auth), which needs no token then, the user is that of the authenticator's
            /// [`by_id`](crate::middleware::Authenticator::by_id); an id that it does not know is refused.
            #[cfg_attr(not(feature = "auth"), doc = "", allow(rustdoc::broken_intra_doc_links))]
            pub fn with_user(mut self, id: &str) -> Self {
                self.request.user(id);
                self
            }

            /// Sends the request with a user whose type is known, as if [`Auth`](crate::middleware::Auth) had proved it:
            /// for applications that are tested without it.
            #[cfg(feature = "auth")]
            pub fn with_identity<U: crate::middleware::Identity>(
                mut self,
                user: impl Into<std::sync::Arc<U>>,
            ) -> Self {
                crate::middleware::identify(&mut self.request.scope.extensions, user.into());
                self
            }

            /// Sends the request in a browser session that is in the store already:
            /// [`Scope::session`](crate::Scope::session), also behind [`Sessions`](crate::middleware::Sessions). To look at
            /// it afterwards, or for several clients of one browser, pass a clone of a
            /// [`BrowserSession`](super::BrowserSession).
            #[cfg(feature = "sessions")]
            pub fn with_session(mut self, session: impl Into<super::BrowserSession>) -> Self {
                self.request.session(&session.into());
                self
            }

            /// Adds a value that middleware in front would have left for the consumer.
            pub fn with_extension<T: Clone + Send + Sync + 'static>(mut self, extension: T) -> Self {
                self.request.scope.extensions.insert(extension);
                self
            }

            /// Waits at most this time instead of a second.
            pub fn with_patience(mut self, patience: std::time::Duration) -> Self {
                self.request.patience = patience;
                self
            }
        }
    };
}
pub(super) use request_settings;
