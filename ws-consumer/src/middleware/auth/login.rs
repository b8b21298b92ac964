//! Login and logout: the user of a browser's session.

use std::sync::Arc;

use http::Extensions;
use subtle::ConstantTimeEq;

use super::user::{Authenticator, Identity, Proof, enter, leave};
use crate::{
    error::{Error, Result},
    middleware::session::{Session, Store, end},
    scope::{Scope, UserId},
    socket::Context,
};

const USER: &str = "_auth_user_id";
const FINGERPRINT: &str = "_auth_fingerprint";

/// Stores a user in a session, and gives the session a new id: the old one may be known to an attacker who chose it. The
/// data of another user is dropped.
///
/// For handlers of plain HTTP. Consumers call [`Context::login`].
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

/// Ends a session with all its data: it is removed from the store, and on plain HTTP the response removes the cookie. A
/// call without a logged-in user has no effect, and begins no session.
///
/// # Errors
/// The store fails.
pub async fn logout(session: &Session) -> Result<()> {
    end(session).await
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
    /// Logs a user in, on this connection and in the browser's session, which gets a new id in the response's cookie.
    ///
    /// # Errors
    /// The scope has no session, its store fails, or the socket has been accepted: then it is too late for a cookie, and
    /// the login has to happen over HTTP.
    pub async fn login<U: Identity>(&mut self, user: Arc<U>) -> Result<()> {
        if self.is_open() {
            return Err(Error::other("log in before the socket is accepted, or over HTTP"));
        }
        login(self.scope().session()?, &*user).await?;
        enter(&mut self.scope_mut().extensions, Proof::<U>::new(user));
        Ok(())
    }

    /// Logs out: ends the browser's session, and detaches this connection from the user: messages [to the
    /// user](crate::UsersExt) do not reach it any more. Other connections of the session stay open until they are
    /// [checked again](super::Auth::recheck_every) or closed.
    ///
    /// # Errors
    /// The scope has no session, or its store fails.
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
    /// The id of the session's user.
    ///
    /// # Errors
    /// The scope has no session, or its store fails.
    pub async fn session_user_id(&self) -> Result<Option<String>> {
        Ok(self.session()?.get(USER).await?)
    }
}
