//! What a session remembers of a user.

use std::sync::Arc;

use http::Extensions;
use subtle::ConstantTimeEq;

use super::{Authenticator, Identity, Proof, Session, Store, end, enter, leave};
use crate::{
    error::{Error, Result},
    scope::{Scope, UserId},
    socket::Context,
};

const USER: &str = "_auth_user_id";
const FINGERPRINT: &str = "_auth_fingerprint";

/// Remembers a user in a session, under a new id: whoever knew the old one, perhaps because it was theirs to give, is
/// left outside. What another user has left in the session is dropped.
///
/// For the handlers of plain HTTP; a consumer has [`Context::login`].
///
/// # Errors
/// The store fails.
pub async fn login<U: Identity>(session: &Session, user: &U) -> Result<()> {
    let before = session.get::<String>(USER).await?;
    if before.is_some_and(|before| before != user.id()) {
        end(session).await?;
    }
    session.cycle_id().await?;
    session.insert(USER, user.id()).await?;
    session.remove_value(FINGERPRINT).await?;
    if let Some(fingerprint) = user.fingerprint() {
        session.insert(FINGERPRINT, fingerprint).await?;
    }
    Ok(session.save().await?)
}

/// Ends a session, with all that it holds: it is gone from the store, and on plain HTTP the cookie is taken
/// back with the answer. A call without a logged-in user does no harm, and begins no session.
///
/// # Errors
/// The store fails.
pub async fn logout(session: &Session) -> Result<()> {
    end(session).await
}

/// Whose session it is. One that has become nobody's is ended.
pub(super) async fn remembered<A: Authenticator>(
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

/// Whose session it is now, looked up anew in the store.
pub(super) async fn still<A: Authenticator>(
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
    /// Logs a user in: for this connection, and for the browser, whose session gets a new id in the answer's cookie.
    ///
    /// # Errors
    /// There is no session, its store fails, or the socket has been accepted: it is too late for a cookie then. Log
    /// in over HTTP instead.
    pub async fn login<U: Identity>(&mut self, user: Arc<U>) -> Result<()> {
        if self.is_open() {
            return Err(Error::other("log in before the socket is accepted, or over HTTP"));
        }
        login(self.scope().session()?, &*user).await?;
        enter(&mut self.scope_mut().extensions, Proof::<U>::new(user));
        Ok(())
    }

    /// Logs out: ends the browser's session, and detaches this connection from the user: messages [to the
    /// user](crate::UsersExt) do not reach it any more. Other connections of the session go on until they are
    /// [checked again](super::Auth::recheck_every), or told to close.
    ///
    /// # Errors
    /// There is no session, or its store fails.
    pub async fn logout<U: Identity>(&mut self) -> Result<()> {
        logout(self.scope().session()?).await?;
        let user = leave::<U>(&mut self.scope_mut().extensions);
        match user {
            Some(UserId(user)) => self.unidentify(&user).await,
            None => Ok(()),
        }
    }
}

impl Scope {
    /// Is the session a user's?
    ///
    /// # Errors
    /// There is no session, or its store fails.
    pub async fn session_user_id(&self) -> Result<Option<String>> {
        Ok(self.session()?.get(USER).await?)
    }
}
