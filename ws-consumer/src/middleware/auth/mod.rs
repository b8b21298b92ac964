//! The guard that authenticates clients.

mod login;
mod recheck;
mod token;

use std::{fmt, sync::Arc, time::Duration};

use http::{Extensions, HeaderValue, StatusCode, header};
use tokio::time::{Instant, timeout};

pub use self::{
    login::{login, logout},
    token::Token,
};
use self::{recheck::Lease, token::Sources};
use super::{
    cookies::Cookies,
    guard::{Guard, GuardRequest},
    session::{Session, SessionStore, Sessions, Store, end},
};
use crate::{
    application::Application,
    error::{Error, Result},
    frame::{self, Frame},
    scope::{Scope, UserId},
    socket::{Context, NoIdentify, Socket},
    wire::{Input, Refuse, Running},
};

/// The close code for a client that has not proved who it is, or whose proof has ended. From the range that
/// applications share.
pub const UNAUTHENTICATED: u16 = 4401;

/// A user.
pub trait Identity: Send + Sync + 'static {
    /// What names the user among all, as text. It is kept in sessions.
    fn id(&self) -> String;

    /// Something that changes when sessions of before must not count any more, such as a hash of the password. It is
    /// kept in sessions.
    fn fingerprint(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A proof that was accepted.
#[derive(Debug)]
pub struct Proof<U> {
    user: Arc<U>,
    lifetime: Option<Duration>,
}

impl<U> Proof<U> {
    /// This user, for as long as the connection lives.
    pub fn new(user: impl Into<Arc<U>>) -> Self {
        Self { user: user.into(), lifetime: None }
    }

    /// This user for so long; then the connection is closed with [`UNAUTHENTICATED`], unless it has been
    /// [renewed](Context::reauthenticate).
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }
}

/// Knows users, and what proves who somebody is.
pub trait Authenticator: Send + Sync + 'static {
    /// A user.
    type User: Identity;

    /// Whom a token stands for; nobody if it is none. Compare secrets with [`Token::is`].
    ///
    /// # Errors
    /// It cannot be told now. The client is refused with 500.
    fn by_token(&self, token: &Token) -> impl Future<Output = Result<Option<Proof<Self::User>>>> + Send {
        let _ = token;
        async { Ok(None) }
    }

    /// The user of this id, as a session remembers it; nobody if there is none, or not any more.
    ///
    /// # Errors
    /// It cannot be told now. The client is refused with 500.
    fn by_id(&self, id: &str) -> impl Future<Output = Result<Option<Proof<Self::User>>>> + Send {
        let _ = id;
        async { Ok(None) }
    }
}

/// The guard that authenticates clients. By default it looks at the session only, and admits anonymous
/// clients too.
///
/// The application's [`Authenticator`] looks up the user of a token or of a session. The result is stored in
/// the scope: see [`Scope::user`]. With [`Sessions`] further out, [`login`] and [`logout`] begin and end what
/// the session remembers.
///
/// A token that is shown counts more than a session, and one that is wrong is refused with 401, whatever the session
/// says.
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
pub struct Auth<A> {
    authenticator: Arc<A>,
    session: bool,
    sources: Sources,
    first_message: Option<Duration>,
    required: bool,
    recheck: Option<Duration>,
    identifies: bool,
}

impl<A: Authenticator> Auth<A> {
    /// From the session; there must be [`Sessions`] further out.
    pub fn new(authenticator: A) -> Self {
        Self { session: true, ..Self::by_tokens(authenticator) }
    }

    /// From tokens only; say where they are.
    ///
    /// A foreign page cannot make a browser send those, but for a [cookie](Self::from_cookie), so that no origin
    /// check is asked for.
    pub fn by_tokens(authenticator: A) -> Self {
        Self {
            authenticator: Arc::new(authenticator),
            session: false,
            sources: Sources::default(),
            first_message: None,
            required: false,
            recheck: None,
            identifies: true,
        }
    }

    /// From `Authorization: Bearer <token>`: for programs; pages cannot send it with a socket.
    pub fn from_header(mut self) -> Self {
        self.sources.header = true;
        self
    }

    /// From `new WebSocket(url, [marker, token])`. The token is made of letters, digits and ``!#$%&'*+-.^_`|~``.
    pub fn from_protocol(mut self, marker: impl Into<String>) -> Self {
        self.sources.protocol = Some(marker.into());
        self
    }

    /// From a cookie.
    pub fn from_cookie(mut self, name: impl Into<String>) -> Self {
        self.sources.cookie = Some(name.into());
        self
    }

    /// From `?token=<token>`, perhaps with `username=<name>`. Both are taken out of the scope's URI, but proxies log
    /// addresses: give out tokens for one use and a short life.
    pub fn from_query(mut self) -> Self {
        self.sources.query = true;
        self
    }

    /// From the first message of a socket, the token or `{"token": .., "username": ..}`, if nothing else has told
    /// before. The socket is accepted for it, and closed with [`UNAUTHENTICATED`] when it proves nothing or does not
    /// come in time.
    pub fn from_first_message(mut self, within: Duration) -> Self {
        self.first_message = Some(within);
        self
    }

    /// Refuses with 401 who is nobody.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Asks again every so often whether the user is still there, and the session still theirs; if not, the socket is
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

    async fn find(&self, request: &mut GuardRequest<'_>) -> Result<Found<A::User>> {
        if let Some(token) = self.sources.take(request) {
            let proof = self.authenticator.by_token(&token).await?;
            return Ok(proof.map_or(Found::Wrong, Found::Somebody));
        }
        let session = request.extensions.get::<Session>().filter(|_| self.session).cloned();
        match session {
            Some(session) => Ok(login::remembered(&*self.authenticator, &session).await?.into()),
            None => Ok(Found::Nobody),
        }
    }
}

enum Found<U> {
    Nobody,
    Somebody(Proof<U>),
    Wrong,
}

impl<U> From<Option<Proof<U>>> for Found<U> {
    fn from(proof: Option<Proof<U>>) -> Self {
        proof.map_or(Self::Nobody, Self::Somebody)
    }
}

impl<A: Authenticator> Guard for Auth<A> {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let found = self.find(request).await.map_err(|error| {
            tracing::error!(error = %error.causes(), "nobody can tell who a client is");
            Refuse::from(StatusCode::INTERNAL_SERVER_ERROR)
        })?;
        request.extensions.insert(Office(self.authenticator.clone()));
        request.extensions.insert(Lease::default());
        if !self.identifies {
            request.extensions.insert(NoIdentify);
        }
        match found {
            Found::Somebody(proof) => enter(request.extensions, proof),
            Found::Wrong => return Err(unauthorized()),
            Found::Nobody if request.is_websocket() && self.first_message.is_some() => {}
            Found::Nobody if self.required => return Err(unauthorized()),
            Found::Nobody => {}
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

/// Lets a client in for as long as its first message takes.
async fn ask<A: Authenticator>(authenticator: &A, socket: &mut Socket, within: Duration) -> Result<bool> {
    socket.accept().await?;
    let Ok(input) = timeout(within, socket.next()).await else { return Ok(false) };
    let Some(Input::Frame(frame)) = input? else { return Ok(false) };
    let Some(token) = token_in(&frame) else { return Ok(false) };
    let Some(proof) = authenticator.by_token(&token).await? else { return Ok(false) };
    enter(&mut socket.scope_mut().extensions, proof);
    socket.identify_user().await?;
    Ok(true)
}

fn token_in(frame: &Frame) -> Option<Token> {
    #[derive(serde::Deserialize)]
    struct Said {
        token: String,
        username: Option<String>,
    }
    let text = frame.text().ok()?;
    if !text.trim_start().starts_with('{') {
        return Some(Token::new(text));
    }
    let said: Said = frame::read(text).ok()?;
    let token = Token::new(said.token);
    Some(match said.username {
        Some(username) => token.with_username(username),
        None => token,
    })
}

fn unauthorized() -> Refuse {
    let mut refuse = Refuse::from(StatusCode::UNAUTHORIZED);
    refuse.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refuse
}

/// Who somebody is, for all that comes behind.
fn enter<U: Identity>(extensions: &mut Extensions, proof: Proof<U>) {
    extensions.insert(UserId(proof.user.id().into()));
    extensions.insert(Current(proof.user));
    if let Some(lease) = extensions.get::<Lease>() {
        // What is too long to be added never comes.
        lease.set(proof.lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime)));
    }
}

/// Removes the user from a scope, and returns the id.
fn leave<U: Identity>(extensions: &mut Extensions) -> Option<UserId> {
    extensions.remove::<Current<U>>();
    let user = extensions.remove::<UserId>();
    if let Some(lease) = extensions.get::<Lease>() {
        lease.set(None);
    }
    user
}

/// The user of a scope.
struct Current<U>(Arc<U>);

impl<U> Clone for Current<U> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Whom to ask again.
struct Office<A>(Arc<A>);

impl<A> Clone for Office<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Scope {
    /// Who the client is, if [`Auth`] has found out. The type is the [`Authenticator`]'s.
    pub fn user<U: Identity>(&self) -> Option<&Arc<U>> {
        user(&self.extensions)
    }
}

/// As [`Scope::user`], for the handlers of plain HTTP.
pub fn user<U: Identity>(extensions: &Extensions) -> Option<&Arc<U>> {
    extensions.get::<Current<U>>().map(|current| &current.0)
}

impl Context {
    /// Renews who the client is by a fresh token, mostly one that it has sent because the old one is about to end.
    ///
    /// # Errors
    /// [`BadInput`](Error::BadInput) for a token that is none, and for another user's: the connection goes on as it
    /// was. Others when there is no such [`Auth`] in front, or it cannot be told now.
    pub async fn reauthenticate<A: Authenticator>(&mut self, token: &Token) -> Result<()> {
        let office = self.scope().extensions.get::<Office<A>>().cloned();
        let Office(authenticator) = office.ok_or_else(|| Error::other("there is no such `Auth` in front"))?;
        let proof = authenticator.by_token(token).await?;
        let proof = proof.ok_or_else(|| Error::bad_input("this token proves nothing"))?;
        let before = self.scope().user::<A::User>().map(|user| user.id());
        if before.is_some_and(|before| before != proof.user.id()) {
            return Err(Error::bad_input("this token is another user's"));
        }
        enter(&mut self.scope_mut().extensions, proof);
        // Before that, `accept` does it.
        if self.is_open() { self.identify_user().await } else { Ok(()) }
    }
}

/// Cookies, sessions and authentication, in this order: what most applications need.
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

impl<A> fmt::Debug for Auth<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("session", &self.session)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}
