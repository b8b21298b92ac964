//! Browser sessions: data that the server keeps for a browser, under an id in a cookie.

mod store;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use cookie::{Cookie, SameSite};
use http::{Extensions, HeaderMap, StatusCode};
use tower_sessions_core::Expiry;
pub use tower_sessions_core::{
    Session, SessionStore,
    session::{Id, Record},
    session_store,
};

pub use self::store::MemoryStore;
use super::{
    cookies::{append, values},
    guard::Guard,
    request::GuardRequest,
};
use crate::{
    error::{Error, Result},
    scope::Scope,
    wire::Refuse,
};

/// The guard that loads a browser's [`Session`]: data that the server keeps under an id in a cookie. See
/// [`Scope::session`].
///
/// Any store of the crate `tower-sessions` works: a type that implements [`SessionStore`] of tower-sessions-core 0.15, which this
/// crate reexports with [`Record`], [`Id`] and the module [`session_store`]. This crate has a [`MemoryStore`] for one process;
/// `RedisSessionStore` of `channel-layer-redis` (feature `sessions`) is for several. Behind the layer of `tower-sessions`, which stores
/// its session in the request's extensions, that session is used.
///
/// A cookie of a session that has ended is common after a logout, and tower-sessions warns of it each time. The log filter
/// `tower_sessions_core=error` silences that.
///
/// On plain HTTP a changed session is saved, and its cookie set, with every response that is no server error: that of
/// a service behind the guard's layer, and that of an [`HttpConsumer`](crate::HttpConsumer) when its headers are sent. A
/// consumer saves it by [`Scope::save_session`], at any time; a new session gets its cookie if it is saved before the socket
/// is accepted.
///
/// ```
/// use ws_consumer::{Consumer, Frame, NoEvents, Result, Router, Socket};
/// use ws_consumer::middleware::{Guard, MemoryStore, Sessions};
///
/// #[derive(Default)]
/// struct Counter;
///
/// impl Consumer for Counter {
///     type Event = NoEvents;
///     async fn receive(&mut self, socket: &mut Socket, _: Frame) -> Result<()> {
///         let session = socket.scope().session()?;
///         let count = session.get::<u64>("count").await?.unwrap_or(0) + 1;
///         session.insert("count", count).await?;
///         socket.scope().save_session().await?;
///         socket.send_json(&count).await
///     }
/// }
///
/// let application = Sessions::new(MemoryStore::default()).around(Router::new().consumer("/", Counter::default));
/// ```
///
/// # With another framework
///
/// Browsers distinguish cookies by host and path, not by port: two servers on one host that use one name overwrite each
/// other's cookie and end each other's sessions. No other framework uses the default name, `channels_session`; Django's is
/// `sessionid`, that of the crate `tower-sessions` is `id`. Neither side can read the other's sessions.
///
/// To identify users by their login at Django, use its cookie as a token, and look it up in Django's session store:
///
/// ```
/// # #[cfg(feature = "auth")] {
/// use ws_consumer::{Origins, Result, Router};
/// use ws_consumer::middleware::{Auth, Authenticator, Guard, Identity, Proof, Token};
/// # struct User { id: String }
/// # impl Identity for User { fn id(&self) -> String { self.id.clone() } }
///
/// struct Django; // has a pool of connections to Django's database
/// # impl Django { async fn user_of(&self, _: &str) -> Result<Option<User>> { Ok(None) } }
///
/// impl Authenticator for Django {
///     type User = User;
///     async fn by_token(&self, session_key: &Token) -> Result<Option<Proof<User>>> {
///         // `session_data` and `expire_date` of the row of `django_session` with this key
///         Ok(self.user_of(session_key.secret()).await?.map(Proof::new))
///     }
/// }
///
/// let auth = Auth::by_tokens(Django).from_cookie("sessionid").required();
/// let application = Origins::SameHost.and(auth).around(Router::new());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sessions<S> {
    store: Arc<S>,
    cookie: SessionCookie,
}

/// The default name of the cookie, which differs from those of frameworks that may serve the same host.
const COOKIE: &str = "channels_session";

#[derive(Clone, Debug)]
struct SessionCookie {
    name: String,
    path: String,
    domain: Option<String>,
    secure: bool,
    same_site: SameSite,
    lifetime: Duration,
}

impl<S: SessionStore> Sessions<S> {
    /// Keeps sessions in this store until two weeks after their last change. The cookie is named `channels_session`, is sent
    /// over TLS only, is hidden from scripts, and is not sent with forms of foreign pages (`Lax`).
    pub fn new(store: S) -> Self {
        let cookie = SessionCookie {
            name: COOKIE.to_owned(),
            path: "/".to_owned(),
            domain: None,
            secure: true,
            same_site: SameSite::Lax,
            lifetime: Duration::from_secs(14 * 24 * 60 * 60),
        };
        Self { store: Arc::new(store), cookie }
    }

    /// Sets the name of the cookie, instead of `channels_session`: see [above](Self#with-another-framework).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.cookie.name = name.into();
        self
    }

    /// Sets the path of the cookie.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.cookie.path = path.into();
        self
    }

    /// Shares the cookie with all subdomains of a domain.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie.domain = Some(domain.into());
        self
    }

    /// Sets whether requests of foreign pages carry the cookie.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// Sends the cookie over plain HTTP too, for development. Without this browsers drop the cookie on plain HTTP, except on
    /// `localhost`, so that a login there has no effect.
    pub fn insecure(mut self) -> Self {
        self.cookie.secure = false;
        self
    }

    /// Sets the time from the last change to the end of a session.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.cookie.lifetime = lifetime;
        self
    }
}

impl SessionCookie {
    fn expiry(&self) -> Expiry {
        Expiry::OnInactivity(self.max_age())
    }

    fn max_age(&self) -> cookie::time::Duration {
        self.lifetime.try_into().unwrap_or(cookie::time::Duration::MAX)
    }

    /// Returns the first valid id: another program of the host may use the cookie's name for a longer path.
    fn id(&self, headers: &HeaderMap) -> Option<Id> {
        values(headers, &self.name).find_map(|value| value.parse().ok())
    }

    fn build(&self, value: String) -> Cookie<'static> {
        let mut cookie = Cookie::build((self.name.clone(), value))
            .path(self.path.clone())
            .secure(self.secure)
            .http_only(true)
            .same_site(self.same_site)
            .build();
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.clone());
        }
        cookie
    }

    /// Sets or removes the cookie in a response, after a change of the session.
    fn update(&self, received: Option<Id>, session: &Session, headers: &mut HeaderMap) {
        match session.id() {
            Some(id) if received != Some(id) || session.is_modified() => {
                let mut cookie = self.build(id.to_string());
                cookie.set_max_age(self.max_age());
                cookie.set_expires(cookie::time::OffsetDateTime::now_utc().checked_add(self.max_age()));
                append(headers, &cookie);
            }
            None if received.is_some() => {
                let mut cookie = self.build(String::new());
                cookie.make_removal();
                append(headers, &cookie);
            }
            _ => {}
        }
    }
}

impl<S: SessionStore> Guard for Sessions<S> {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        if request.extensions.get::<Session>().is_some() {
            return Ok(()); // the outermost guard takes precedence
        }
        let received = self.cookie.id(request.headers);
        let session = Session::new(received, self.store.clone(), Some(self.cookie.expiry()));
        let (cookie, saved) = (self.cookie.clone(), session.clone());
        let answered = enter(request.extensions, session, self.store.clone(), received);
        request.on_answer(move |headers| {
            cookie.update(received, &saved, headers);
            let _ = answered.set(saved.id()); // there is one answer
        });
        Ok(())
    }

    async fn finish(&self, extensions: &Extensions, status: StatusCode) {
        let Some(session) = extensions.get::<Session>() else { return };
        if status.is_server_error() || !session.is_modified() {
            return;
        }
        if let Err(error) = save(session, extensions).await {
            tracing::warn!(%error, "a session was not saved");
        }
    }

    fn uses_ambient_credentials(&self) -> bool {
        true
    }
}

/// Stores a session in the extensions of a scope. `received`: the id in the client's cookie. Returns the cell for the id that
/// the session has in the response.
pub(crate) fn enter(
    extensions: &mut Extensions,
    session: Session,
    store: Arc<dyn SessionStore>,
    received: Option<Id>,
) -> Arc<OnceLock<Option<Id>>> {
    let answered = Arc::new(OnceLock::new());
    extensions.insert(Store { store, received, answered: answered.clone() });
    extensions.insert(session);
    answered
}

/// The store of a scope's session.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) store: Arc<dyn SessionStore>,
    /// The id in the client's cookie.
    received: Option<Id>,
    /// The session's id when the response was sent, with which a cookie went out if it was a new one.
    answered: Arc<OnceLock<Option<Id>>>,
}

impl Store {
    /// Whether the browser has this id in its cookie, after the response.
    #[cfg(feature = "auth")]
    pub(super) fn is_delivered(&self, id: Id) -> bool {
        self.received == Some(id) || self.answered.get() == Some(&Some(id))
    }
}

impl Scope {
    /// The session, with [`Sessions`] in front (feature `sessions`).
    ///
    /// # Errors
    /// The scope has no session.
    pub fn session(&self) -> Result<&Session> {
        self.extensions.get().ok_or_else(|| Error::other("no session: put `Sessions` in front"))
    }

    /// Saves the session. An empty session that is not in the store is not created.
    ///
    /// # Errors
    /// The scope has no session, the store fails, or the session has been ended elsewhere in the meantime: a connection must
    /// not undo a logout.
    pub async fn save_session(&self) -> Result<()> {
        save(self.session()?, &self.extensions).await
    }
}

/// Saves a session that has not been ended, here or elsewhere.
pub(super) async fn save(session: &Session, extensions: &Extensions) -> Result<()> {
    // Without an id the session is new or has ended. Saving it empty would create it.
    if session.is_empty().await {
        return Ok(());
    }
    match (session.id(), extensions.get::<Store>()) {
        (Some(id), Some(Store { store, .. })) if store.load(&id).await?.is_none() => {
            return Err(Error::other("the session has been ended elsewhere"));
        }
        // A flushed session would be created again under its old id.
        (None, Some(Store { received: Some(_), .. })) => session.cycle_id().await?,
        _ => {}
    }
    Ok(session.save().await?)
}

/// Ends a session with all its data. Data inserted afterwards begins another one, under another id.
#[cfg(feature = "auth")]
pub(super) async fn end(session: &Session) -> Result<()> {
    session.clear().await;
    if session.id().is_some() {
        // Removes it from the store. `Session::flush` does too, but keeps the old id with the data.
        session.cycle_id().await?;
    }
    Ok(())
}
