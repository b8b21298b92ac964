//! Guards: checks of clients before the application.
//!
//! A [`Guard`] examines each client and stores its findings in the scope's [`extensions`](crate::Scope::extensions).
//! [`around`](Guard::around) puts it in front of a router or an application, [`layer`](Guard::layer) in front of plain HTTP:
//!
//! ```
//! use ws_consumer::{Router, middleware::{AllowedHosts, Guard, RequestIds, Traced}};
//!
//! let guards = AllowedHosts::local().and(RequestIds::new()).and(Traced);
//! let application = guards.around(Router::new());
//! ```

#[cfg(feature = "auth")]
mod auth;
#[cfg(feature = "cookies")]
mod cookies;
#[cfg(feature = "grants")]
mod grant;
mod guard;
mod hosts;
mod limiter;
mod markers;
mod origin;
mod proxy;
mod request;
mod request_id;
#[cfg(feature = "sessions")]
mod session;
mod traced;
mod web_origin;

#[cfg(feature = "auth")]
pub use self::auth::{
    Auth, Authenticator, Identity, LoginError, Proof, Token, UNAUTHENTICATED, auth_stack, login, logout, user,
};
#[cfg(all(feature = "auth", feature = "testing"))]
pub(crate) use self::auth::{KnownUser, identify};
#[cfg(all(feature = "auth", feature = "axum"))]
pub(crate) use self::auth::{is_authenticated, unauthorized};
#[cfg(feature = "cookies")]
pub use self::cookies::{Cookie, Cookies, Jar, Key, SameSite};
#[cfg(feature = "grants")]
pub use self::grant::{GrantError, GrantKeys};
pub(crate) use self::origin::name_origin;
#[cfg(all(feature = "sessions", feature = "testing"))]
pub(crate) use self::session::enter as enter_session;
#[cfg(feature = "sessions")]
pub use self::session::{Id, MemoryStore, Record, Session, SessionStore, Sessions, session_store};
pub use self::{
    guard::{And, Guard, GuardLayer, GuardService},
    hosts::AllowedHosts,
    limiter::{Limiter, OverLimit, Rate},
    origin::{OriginCheck, OriginError, OriginPattern, OriginRules, Origins},
    proxy::{AddressError, TrustedProxies},
    request::GuardRequest,
    request_id::{RequestId, RequestIds},
    traced::Traced,
};
pub use crate::{scope::UserId, socket::NoIdentify};
