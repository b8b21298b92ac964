//! Users, the proofs of their identity, and the user of a connection.

use std::{sync::Arc, time::Duration};

use http::Extensions;
use tokio::time::Instant;

use super::{
    lease::{ConnectionLogin, Lease, LoginSource},
    token::Token,
};
use crate::{
    error::Result,
    scope::{Scope, UserId},
};

/// The close code for a client that is not authenticated, or whose authentication has expired. From the range of
/// applications.
pub const UNAUTHENTICATED: u16 = 4401;

/// A user.
pub trait Identity: Send + Sync + 'static {
    /// The unique id of the user, as text. It is stored in sessions.
    fn id(&self) -> String;

    /// A value that changes when earlier sessions must become invalid, such as a hash of the password. It is stored in
    /// sessions.
    fn fingerprint(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A proof that was accepted.
#[derive(Debug)]
pub struct Proof<U> {
    pub(super) user: Arc<U>,
    lifetime: Option<Duration>,
}

impl<U> Proof<U> {
    /// Proves this user until the connection ends.
    pub fn new(user: impl Into<Arc<U>>) -> Self {
        Self { user: user.into(), lifetime: None }
    }

    /// Limits the proof to this time. Afterwards the connection is closed with [`UNAUTHENTICATED`], unless it has been
    /// [renewed](crate::Context::reauthenticate).
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }
}

/// Looks up users by their tokens and ids.
pub trait Authenticator: Send + Sync + 'static {
    /// A user.
    type User: Identity;

    /// Returns the user of a token, or `None` if the token is invalid. Compare secrets with [`Token::is`].
    ///
    /// # Errors
    /// The lookup failed. The client is refused with 500.
    fn by_token(&self, token: &Token) -> impl Future<Output = Result<Option<Proof<Self::User>>>> + Send {
        let _ = token;
        async { Ok(None) }
    }

    /// Returns the user with an id from a session, or `None` if the user does not exist any more.
    ///
    /// # Errors
    /// The lookup failed. The client is refused with 500.
    fn by_id(&self, id: &str) -> impl Future<Output = Result<Option<Proof<Self::User>>>> + Send {
        let _ = id;
        async { Ok(None) }
    }
}

/// The id of a user that a test's client is, in the extensions of its scope.
#[cfg(feature = "testing")]
#[derive(Clone)]
pub(crate) struct KnownUser(pub(crate) Arc<str>);

/// Stores a test's user in the extensions of a scope.
#[cfg(feature = "testing")]
pub(crate) fn identify<U: Identity>(extensions: &mut Extensions, user: Arc<U>) {
    enter(extensions, Proof { user, lifetime: None }, LoginSource::Token);
}

/// Stores the user in the extensions of a scope.
pub(super) fn enter<U: Identity>(extensions: &mut Extensions, proof: Proof<U>, source: LoginSource) {
    let user: Arc<str> = proof.user.id().into();
    extensions.insert(UserId(user.clone()));
    extensions.insert(Current(proof.user));
    if let Some(lease) = extensions.get::<Lease>() {
        // A lifetime that overflows never ends.
        let until = proof.lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        lease.set(Some(ConnectionLogin { user, source, until }));
    }
}

/// Removes the user from a scope, and returns the id.
pub(super) fn leave<U: Identity>(extensions: &mut Extensions) -> Option<UserId> {
    extensions.remove::<Current<U>>();
    let user = extensions.remove::<UserId>();
    if let Some(lease) = extensions.get::<Lease>() {
        lease.set(None);
    }
    user
}

/// The user of a scope.
pub(super) struct Current<U>(pub(super) Arc<U>);

impl<U> Clone for Current<U> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Scope {
    /// The client's user, if [`Auth`](super::Auth) has identified it (feature `auth`). The type is that of the [`Authenticator`].
    pub fn user<U: Identity>(&self) -> Option<&Arc<U>> {
        user(&self.extensions)
    }
}

/// Returns the user of a request. For handlers of plain HTTP; consumers call [`Scope::user`].
pub fn user<U: Identity>(extensions: &Extensions) -> Option<&Arc<U>> {
    extensions.get::<Current<U>>().map(|current| &current.0)
}
