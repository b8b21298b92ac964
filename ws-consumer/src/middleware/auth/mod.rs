//! The guard that authenticates clients.

mod hooks;
mod lease;
mod login;
mod recheck;
mod token;
mod user;

use std::{fmt, sync::Arc, time::Duration};

use http::{Extensions, HeaderValue, StatusCode, header};
use tokio::time::timeout;

#[cfg(feature = "testing")]
pub(crate) use self::user::{KnownUser, identify};
use self::{
    hooks::LoginRules,
    lease::{Lease, LoginSource},
    token::TokenSources,
    user::enter,
};
pub use self::{
    login::{LoginError, login, logout},
    token::Token,
    user::{Authenticator, Identity, Proof, UNAUTHENTICATED, user},
};
use super::{
    cookies::Cookies,
    guard::Guard,
    request::GuardRequest,
    session::{Session, SessionStore, Sessions},
};
use crate::{
    application::Application,
    error::{Error, Fault, Result},
    frame::{self, Frame},
    socket::{Context, NoIdentify, Socket},
    wire::{Input, Refuse, Running},
};

/// The guard that authenticates clients. By default it reads the session only, and admits anonymous clients too.
///
/// The application's [`Authenticator`] looks up the user of a token or of a session. The result is stored in
/// the scope: see [`Scope::user`](crate::Scope::user). With [`Sessions`] further out, [`login`] and [`logout`] begin and end what
/// the session remembers, and [`on_login`](Self::on_login) and [`on_logout`](Self::on_logout) observe them.
///
/// A token takes precedence over a session. An invalid one is refused with 401, whatever the session says.
///
/// A user's connections are [identified](Context::identify) automatically: messages [to the
/// user](crate::UsersExt) reach them, and they can be closed together, from any process.
/// [`no_identify`](Self::no_identify) turns that off.
///
/// ```
/// use ws_consumer::{Result, Router};
/// use ws_consumer::middleware::{Auth, Authenticator, Guard, Identity, Proof, Token};
///
/// struct User(String);
/// impl Identity for User {
///     fn id(&self) -> String { self.0.clone() }
/// }
///
/// struct Users;
/// impl Authenticator for Users {
///     type User = User;
///     async fn by_token(&self, token: &Token) -> Result<Option<Proof<User>>> {
///         Ok(token.is("correct horse").then(|| Proof::new(User("ann".to_owned()))))
///     }
/// }
///
/// let application = Auth::by_tokens(Users).from_header().from_protocol("bearer").required().around(Router::new());
/// ```
pub struct Auth<A: Authenticator> {
    authenticator: Arc<A>,
    session: bool,
    sources: TokenSources,
    first_message: Option<Duration>,
    required: bool,
    recheck: Option<Duration>,
    identifies: bool,
    /// `None` without hooks and exceptions, so that connections carry nothing for them.
    rules: Option<Arc<LoginRules<A::User>>>,
}

impl<A: Authenticator> Auth<A> {
    /// Authenticates by the session, which needs [`Sessions`] further out.
    pub fn new(authenticator: A) -> Self {
        Self { session: true, ..Self::by_tokens(authenticator) }
    }

    /// Authenticates by tokens only, from the sources that the `from_*` methods add.
    ///
    /// A foreign page cannot make a browser send them, except in a [cookie](Self::from_cookie), so no origin check is
    /// required.
    pub fn by_tokens(authenticator: A) -> Self {
        Self {
            authenticator: Arc::new(authenticator),
            session: false,
            sources: TokenSources::default(),
            first_message: None,
            required: false,
            recheck: None,
            identifies: true,
            rules: None,
        }
    }

    /// Reads `Authorization: Bearer <token>`. For programs: pages cannot send it with a WebSocket.
    pub fn from_header(mut self) -> Self {
        self.sources.header = true;
        self
    }

    /// Reads `new WebSocket(url, [marker, token])`. The token is made of letters, digits and ``!#$%&'*+-.^_`|~``.
    pub fn from_protocol(mut self, marker: impl Into<String>) -> Self {
        self.sources.protocol = Some(marker.into());
        self
    }

    /// Reads a cookie.
    pub fn from_cookie(mut self, name: impl Into<String>) -> Self {
        self.sources.cookie = Some(name.into());
        self
    }

    /// Reads `?token=<token>`, optionally with `username=<name>`. Both are removed from the scope's URI, but proxies log
    /// URIs: issue tokens for one use and a short time.
    pub fn from_query(mut self) -> Self {
        self.sources.query = true;
        self
    }

    /// Reads the first message of a socket, a token or `{"token": .., "username": ..}`, if no other source has identified
    /// the client. The socket is accepted first, and closed with [`UNAUTHENTICATED`] if the message is invalid or does
    /// not arrive in time.
    pub fn from_first_message(mut self, within: Duration) -> Self {
        self.first_message = Some(within);
        self
    }

    /// Refuses anonymous clients with 401.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Checks at this interval that the user still exists and that the session is still theirs. If not, the socket is
    /// closed with [`UNAUTHENTICATED`].
    pub fn recheck_every(mut self, interval: Duration) -> Self {
        self.recheck = Some(interval);
        self
    }

    /// Leaves connections out of what is [sent to their user](crate::UsersExt), unless they
    /// [identify](Context::identify) themselves.
    pub fn no_identify(mut self) -> Self {
        self.identifies = false;
        self
    }

    /// Calls a hook after each login by [`login`] or [`Context::login`] behind this guard: Django's signal `user_logged_in`.
    /// The hook gets the user and a copy of the extensions of the request or scope. May be called several times.
    ///
    /// Hooks are called in the order in which they were added, each after the one before has returned. The session is stored
    /// by then; the connection does not have the user yet. An error ends the session again and is the error of the login, and
    /// later hooks are not called. Of nested guards with one type of user, the inner one's hooks are called first.
    ///
    /// Tokens, sessions of earlier logins and [`Context::reauthenticate`] are no logins.
    ///
    /// ```
    /// # use ws_consumer::{Result, middleware::{Auth, Authenticator, Identity}};
    /// # struct User(String);
    /// # impl Identity for User { fn id(&self) -> String { self.0.clone() } }
    /// # struct Users;
    /// # impl Authenticator for Users { type User = User; }
    /// use std::sync::Arc;
    /// use ws_consumer::middleware::RequestId;
    ///
    /// let auth = Auth::new(Users).on_login(|user: Arc<User>, request| async move {
    ///     println!("{} logged in: request {:?}", user.0, request.get::<RequestId>());
    ///     Ok(())
    /// });
    /// ```
    pub fn on_login<F>(mut self, hook: impl Fn(Arc<A::User>, Extensions) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.rules_mut().add_login(hook);
        self
    }

    /// Calls a hook after each logout of a user by [`logout`] or [`Context::logout`] behind this guard: Django's signal
    /// `user_logged_out`. May be called several times.
    ///
    /// Hooks are called in the order in which they were added. The session has ended by then, and the connection has lost its
    /// user; the logout stands whatever a hook returns. All hooks are called; the first error is the error of the logout.
    ///
    /// Of nested guards, the inner one's hooks are called first. [`logout`] calls the hooks of all guards that have identified a
    /// user, [`Context::logout`] those of all guards with the type of user that it names.
    ///
    /// A session that expires, or whose user is gone, is no logout.
    pub fn on_logout<F>(
        mut self,
        hook: impl Fn(Arc<A::User>, Extensions) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.rules_mut().add_logout(hook);
        self
    }

    /// Allows [`Context::login`] on sockets that are accepted already, as Channels does. The login is stored in the session
    /// that the browser has, under the id that it has.
    ///
    /// # Session fixation
    ///
    /// A login over HTTP, or before a socket is accepted, gives the session a new id, so that an id which an attacker knows,
    /// and has planted in the browser, is worth nothing. An open socket cannot set a cookie. (Channels creates the new id all
    /// the same: the browser keeps the old one, and the login is lost with the page.) Here the id stays.
    ///
    /// Only the server may therefore be able to set the cookie: name it with the prefix `__Host-`
    /// (`Sessions::new(store).name("__Host-session")`), which keeps browsers from taking it from subdomains and from
    /// unencrypted pages, and check the [`Origins`](super::Origins) of sockets.
    pub fn login_on_open_sockets(mut self) -> Self {
        self.rules_mut().on_open_sockets = true;
        self
    }

    fn rules_mut(&mut self) -> &mut LoginRules<A::User> {
        Arc::make_mut(self.rules.get_or_insert_default())
    }

    async fn find(&self, request: &mut GuardRequest<'_>) -> Result<AuthOutcome<A::User>> {
        #[cfg(feature = "testing")]
        if let Some(KnownUser(id)) = request.extensions.get::<KnownUser>() {
            let proof = self.authenticator.by_id(id).await?;
            return Ok(AuthOutcome::from_token(proof));
        }
        if let Some(token) = self.sources.take(request) {
            let proof = self.authenticator.by_token(&token).await?;
            return Ok(AuthOutcome::from_token(proof));
        }
        let session = request.extensions.get::<Session>().filter(|_| self.session).cloned();
        match session {
            Some(session) => {
                let proof = login::session_user(&*self.authenticator, &session).await?;
                let user = |proof| AuthOutcome::User(proof, LoginSource::Session);
                Ok(proof.map_or(AuthOutcome::Anonymous, user))
            }
            None => Ok(AuthOutcome::Anonymous),
        }
    }
}

enum AuthOutcome<U> {
    Anonymous,
    Invalid,
    User(Proof<U>, LoginSource),
}

impl<U> AuthOutcome<U> {
    fn from_token(proof: Option<Proof<U>>) -> Self {
        proof.map_or(Self::Invalid, |proof| Self::User(proof, LoginSource::Token))
    }
}

impl<A: Authenticator> Guard for Auth<A> {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let found = self.find(request).await.map_err(|error| {
            match error.fault() {
                Fault::Layer | Fault::Overload => {
                    tracing::warn!(error = %error.causes(), "a client could not be authenticated at present");
                }
                _ => tracing::error!(error = %error.causes(), "a client could not be authenticated"),
            }
            // Not the text of bad input: it may quote a credential.
            if error.is_bad_input() { StatusCode::INTERNAL_SERVER_ERROR.into() } else { Refuse::from(&error) }
        })?;
        request.extensions.insert(SharedAuthenticator(self.authenticator.clone()));
        request.extensions.insert(Lease::default());
        if let Some(rules) = &self.rules {
            hooks::share(rules, request.extensions);
        }
        if !self.identifies {
            request.extensions.insert(NoIdentify);
        }
        match found {
            AuthOutcome::User(proof, source) => enter(request.extensions, proof, source),
            AuthOutcome::Invalid => return Err(unauthorized()),
            AuthOutcome::Anonymous if request.is_websocket() && self.first_message.is_some() => {}
            AuthOutcome::Anonymous if self.required => return Err(unauthorized()),
            AuthOutcome::Anonymous => {}
        }
        Ok(())
    }

    fn accompany(&self, context: Context, inner: &Arc<dyn Application>) -> Running {
        let asked = self.first_message.filter(|_| context.scope().user::<A::User>().is_none());
        let (inner, recheck) = (inner.clone(), self.recheck);
        let authenticator = self.authenticator.clone();
        if let Some(within) = asked {
            return Box::pin(async move {
                let mut socket = Socket::from_context(context);
                if !ask(&*authenticator, &mut socket, within).await? {
                    return socket.close(recheck::unauthenticated("authentication failed")).await;
                }
                recheck::hold(authenticator, recheck, socket.into_context(), &inner).await
            });
        }
        recheck::hold(authenticator, recheck, context, &inner)
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.session || self.sources.cookie.is_some()
    }
}

/// Accepts a client and authenticates it by its first message.
async fn ask<A: Authenticator>(authenticator: &A, socket: &mut Socket, within: Duration) -> Result<bool> {
    socket.accept().await?;
    let Ok(input) = timeout(within, socket.next()).await else { return Ok(false) };
    let Some(Input::Frame(frame)) = input? else { return Ok(false) };
    let Some(token) = token_in(&frame) else { return Ok(false) };
    let Some(proof) = authenticator.by_token(&token).await? else { return Ok(false) };
    enter(&mut socket.scope_mut().extensions, proof, LoginSource::Token);
    socket.identify_user().await?;
    Ok(true)
}

fn token_in(frame: &Frame) -> Option<Token> {
    #[derive(serde::Deserialize)]
    struct FirstMessage {
        token: String,
        username: Option<String>,
    }
    let text = frame.text().ok()?;
    if !text.trim_start().starts_with('{') {
        return Some(Token::new(text));
    }
    let message: FirstMessage = frame::read(text).ok()?;
    let token = Token::new(message.token);
    Some(match message.username {
        Some(username) => token.with_username(username),
        None => token,
    })
}

/// Returns whether [`Auth`] is in front.
#[cfg(feature = "axum")]
pub(crate) fn is_authenticated(extensions: &http::Extensions) -> bool {
    extensions.get::<Lease>().is_some()
}

/// The answer to a client whose identity is required. RFC 9110, 15.5.2, asks for a challenge with every 401, also where only a
/// session's cookie would do.
pub(crate) fn unauthorized() -> Refuse {
    let mut refuse = Refuse::from(StatusCode::UNAUTHORIZED);
    refuse.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refuse
}

/// The authenticator, for later calls.
struct SharedAuthenticator<A>(Arc<A>);

impl<A> Clone for SharedAuthenticator<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Context {
    /// Renews the client's authentication by a fresh token, usually one sent because the old one is about to expire.
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) for an invalid token, and for another user's: the connection stays as it was. Other
    /// errors if no such [`Auth`] is in front, or if the authenticator fails.
    pub async fn reauthenticate<A: Authenticator>(&mut self, token: &Token) -> Result<()> {
        let shared = self.scope().extensions.get::<SharedAuthenticator<A>>().cloned();
        let SharedAuthenticator(authenticator) =
            shared.ok_or_else(|| Error::other("no such `Auth` is in front"))?;
        let proof = authenticator.by_token(token).await?;
        let proof = proof.ok_or_else(|| Error::bad_input("this token is invalid"))?;
        let before = self.scope().user::<A::User>().map(|user| user.id());
        if before.is_some_and(|before| before != proof.user.id()) {
            return Err(Error::bad_input("this token is another user's"));
        }
        enter(&mut self.scope_mut().extensions, proof, LoginSource::Token);
        // `accept` identifies the user otherwise.
        if self.is_open() { self.identify_user().await } else { Ok(()) }
    }
}

/// Combines cookies, sessions and authentication, in this order.
///
/// ```
/// # use ws_consumer::middleware::{Authenticator, Identity, Proof};
/// # use ws_consumer::Result;
/// # struct User; impl Identity for User { fn id(&self) -> String { String::new() } }
/// # struct Users; impl Authenticator for Users { type User = User; }
/// use ws_consumer::{Router, middleware::{Auth, Guard, MemoryStore, Sessions, auth_stack}};
///
/// let stack = auth_stack(Sessions::new(MemoryStore::default()), Auth::new(Users).required());
/// let application = stack.around(Router::new());
/// ```
pub fn auth_stack<S: SessionStore, A: Authenticator>(sessions: Sessions<S>, auth: Auth<A>) -> impl Guard {
    Cookies::new().and(sessions).and(auth)
}

impl<A: Authenticator> fmt::Debug for Auth<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("session", &self.session)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}
