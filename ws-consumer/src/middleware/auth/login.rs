//! Login and logout: the user of a browser's session.

use std::{fmt, sync::Arc};

use http::Extensions;
use subtle::ConstantTimeEq;

use super::{
    hooks,
    lease::LoginSource,
    user::{Authenticator, Identity, Proof, enter, leave},
};
use crate::{
    error::{Error, Result},
    middleware::session::{Session, Store, end, save},
    scope::{Scope, UserId},
    socket::Context,
};

const USER: &str = "_auth_user_id";
const FINGERPRINT: &str = "_auth_fingerprint";

/// Stores a user in the request's session, and gives the session a new id: the old one may be known to an attacker who chose
/// it. The data of another user is dropped. Then the hooks of [`Auth::on_login`](super::Auth::on_login) are called.
///
/// For handlers of plain HTTP, with the request's extensions. Consumers call [`Context::login`].
///
/// # Errors
/// There is no session, its store fails, or a hook fails: then the session is ended.
///
/// # Cancel safety
/// Not cancel safe: a dropped call may have stored the user, or ended the session.
pub async fn login<U: Identity>(extensions: &Extensions, user: Arc<U>) -> Result<()> {
    let session = session_of(extensions)?;
    let before = session.get::<String>(USER).await?;
    if before.is_some_and(|before| before != user.id()) {
        end(session).await?;
    }
    session.cycle_id().await?;
    set_user(session, &*user).await?;
    session.save().await?;
    call_hooks(session, extensions, &user).await
}

/// Ends the request's session with all its data: it is removed from the store, and on plain HTTP the response removes the
/// cookie. Then the hooks of [`Auth::on_logout`](super::Auth::on_logout) are called. A call without a logged-in user has no
/// other effect than to end the session, and begins none.
///
/// The user's open sockets do not end by it: [`Auth::recheck_every`](super::Auth::recheck_every) closes those of the session, and
/// [`close_user`](crate::UsersExt::close_user) all of the user's at once, those of other browsers too.
///
/// For handlers of plain HTTP, with the request's extensions. Consumers call [`Context::logout`].
///
/// # Errors
/// There is no session, its store fails, or a hook fails: then the logout stands.
pub async fn logout(extensions: &Extensions) -> Result<()> {
    let session = session_of(extensions)?;
    let had_user = session.get::<String>(USER).await?.is_some();
    end(session).await?;
    if had_user { hooks::request_logged_out(extensions).await } else { Ok(()) }
}

/// The reason why a login on an accepted socket is refused, as a cause of [`Error::Other`](crate::Error::Other).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginError {
    /// The browser has no session that is in the store, and a cookie for a new one cannot be sent any more.
    NoSession,
    /// The connection, or the session in the store, belongs to another user, whose data would have to be dropped.
    OtherUser,
    /// The socket has been accepted, and [`Auth::login_on_open_sockets`](super::Auth::login_on_open_sockets) is not set.
    SocketOpen,
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSession => {
                "the browser has no session to log in to: save one before the socket is accepted, or over HTTP"
            }
            Self::OtherUser => "another user is logged in: log out first, and log in over HTTP",
            Self::SocketOpen => {
                "log in before the socket is accepted, or over HTTP, or allow it by `Auth::login_on_open_sockets`"
            }
        })
    }
}

impl std::error::Error for LoginError {}

fn session_of(extensions: &Extensions) -> Result<&Session> {
    extensions.get().ok_or_else(|| Error::other("no session: put `Sessions` in front"))
}

async fn set_user<U: Identity>(session: &Session, user: &U) -> Result<()> {
    session.insert(USER, user.id()).await?;
    session.remove_value(FINGERPRINT).await?;
    if let Some(fingerprint) = user.fingerprint() {
        session.insert(FINGERPRINT, fingerprint).await?;
    }
    Ok(())
}

/// Calls the hooks of a login, which a failing one undoes: a page that shows an error must not be logged in.
async fn call_hooks<U: Identity>(session: &Session, extensions: &Extensions, user: &Arc<U>) -> Result<()> {
    let Err(error) = hooks::logged_in(user, extensions).await else { return Ok(()) };
    if let Err(error) = end(session).await {
        tracing::error!(error = %error.causes(), "a login that a hook refused was not undone");
    }
    Err(error)
}

/// Returns the user of a session. A session whose user is gone or has changed the password is ended.
pub(super) async fn session_user<A: Authenticator>(
    authenticator: &A,
    session: &Session,
) -> Result<Option<Proof<A::User>>> {
    let Some(id) = session.get::<String>(USER).await? else { return Ok(None) };
    let proof = authenticator.by_id(&id).await?;
    let kept = session.get::<Vec<u8>>(FINGERPRINT).await?.unwrap_or_default();
    let proof = proof.filter(|proof| {
        let now = proof.user.fingerprint().unwrap_or_default();
        proof.user.id() == id && bool::from(now.ct_eq(&kept))
    });
    if proof.is_none() {
        tracing::info!("a session whose user is gone or has changed the password: ended");
        end(session).await?;
    }
    Ok(proof)
}

/// Returns the id of the session's user, read again from the store.
pub(super) async fn stored_user_id<A: Authenticator>(
    authenticator: &A,
    extensions: &Extensions,
) -> Result<Option<String>> {
    let (Some(session), Some(Store { store, .. })) = (extensions.get::<Session>(), extensions.get::<Store>())
    else {
        return Ok(None);
    };
    let Some(id) = session.id() else { return Ok(None) };
    let Some(record) = store.load(&id).await? else { return Ok(None) };
    let text = record.data.get(USER).and_then(|id| id.as_str());
    let Some(id) = text else { return Ok(None) };
    let Some(proof) = authenticator.by_id(id).await? else { return Ok(None) };
    let kept = record.data.get(FINGERPRINT).cloned().map(serde_json::from_value::<Vec<u8>>).transpose()?;
    let same = proof.user.fingerprint().unwrap_or_default().ct_eq(&kept.unwrap_or_default());
    Ok(bool::from(same).then(|| proof.user.id()))
}

impl Context {
    /// Logs a user in, on this connection and in the browser's session, and calls the hooks of
    /// [`Auth::on_login`](super::Auth::on_login).
    ///
    /// Needs the feature `auth`.
    ///
    /// Before the client is accepted, the session gets a new id in the response's cookie. On a socket that has been accepted,
    /// no cookie can be set: the login is refused, or with
    /// [`Auth::login_on_open_sockets`](super::Auth::login_on_open_sockets) stored in the session that the browser already has,
    /// under the same id. That session must have been saved before the socket was accepted. Messages [to the
    /// user](crate::UsersExt) then reach this connection, and [repeated checks](super::Auth::recheck_every) are of this user.
    ///
    /// # Errors
    /// The scope has no session, its store fails, or a hook fails: then the session is ended. On an accepted socket also a
    /// [`LoginError`], and the layer's errors.
    ///
    /// # Cancel safety
    /// Not cancel safe: a dropped call may have stored the user in the session, and not in this connection.
    pub async fn login<U: Identity>(&mut self, user: Arc<U>) -> Result<()> {
        let is_open = self.is_open();
        if is_open {
            // Boxed: few connections ever log in.
            Box::pin(login_open(self.scope(), &user)).await?;
        } else {
            login(&self.scope().extensions, user.clone()).await?;
        }
        enter(&mut self.scope_mut().extensions, Proof::<U>::new(user), LoginSource::Session);
        // `accept` identifies the user otherwise.
        if is_open { self.identify_user().await } else { Ok(()) }
    }

    /// Logs out (feature `auth`): ends the browser's session, and detaches this connection from the user: messages [to the
    /// user](crate::UsersExt) do not reach it any more. Then the hooks of [`Auth::on_logout`](super::Auth::on_logout) are
    /// called. Other connections of the session stay open until they are [checked again](super::Auth::recheck_every) or
    /// closed.
    ///
    /// # Errors
    /// The scope has no session, or its store fails. The layer's errors, and those of hooks: then the logout stands.
    pub async fn logout<U: Identity>(&mut self) -> Result<()> {
        end(self.scope().session()?).await?;
        let user = self.scope().user::<U>().cloned();
        let detached = match leave::<U>(&mut self.scope_mut().extensions) {
            Some(UserId(id)) => self.unidentify(&id).await,
            None => Ok(()),
        };
        let called = match user {
            Some(user) => hooks::logged_out(&user, &self.scope().extensions).await,
            None => Ok(()),
        };
        detached.and(called)
    }
}

/// Stores the user of an accepted socket in the session that the browser has.
async fn login_open<U: Identity>(scope: &Scope, user: &Arc<U>) -> Result<()> {
    let (session, extensions) = (scope.session()?, &scope.extensions);
    if !hooks::allows_open_sockets::<U>(extensions) {
        return Err(LoginError::SocketOpen.into());
    }
    let id = user.id();
    if scope.user_id().is_some_and(|current| current != id) {
        return Err(LoginError::OtherUser.into());
    }
    let (Some(key), Some(store)) = (session.id(), extensions.get::<Store>()) else {
        return Err(LoginError::NoSession.into());
    };
    // A session that was saved later has an id that the browser does not know.
    let record = if store.is_delivered(key) { store.store.load(&key).await? } else { None };
    let record = record.ok_or(LoginError::NoSession)?;
    if record.data.get(USER).is_some_and(|stored| stored.as_str() != Some(&id)) {
        return Err(LoginError::OtherUser.into());
    }
    if !session.is_modified() {
        session.load().await?; // with what other requests have stored since
    }
    set_user(session, &**user).await?;
    save(session, extensions).await?;
    call_hooks(session, extensions, user).await
}

impl Scope {
    /// The id of the session's user.
    ///
    /// # Errors
    /// The scope has no session, or its store fails.
    pub async fn session_user_id(&self) -> Result<Option<String>> {
        Ok(self.session()?.get(USER).await?)
    }
}
