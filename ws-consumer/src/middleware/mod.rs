//! What stands between the door and the application.
//!
//! A [`Guard`] looks at each client, leaves what it learns in the scope's
//! [`extensions`](crate::Scope::extensions), and goes in front of a router or a whole application with
//! [`around`](Guard::around), in front of plain HTTP with [`layer`](Guard::layer):
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
mod guarded;
mod hosts;
mod identify;
mod layer;
mod limiter;
mod origin;
mod proxy;
mod request_id;
#[cfg(feature = "sessions")]
mod session;
mod traced;

#[cfg(feature = "auth")]
pub use self::auth::{
    Auth, Authenticator, Identity, Proof, Token, UNAUTHENTICATED, auth_stack, login, logout, user,
};
#[cfg(feature = "cookies")]
pub use self::cookies::{Cookie, Cookies, Jar, Key, SameSite};
#[cfg(feature = "grants")]
pub use self::grant::{GrantError, GrantKeys};
pub(crate) use self::origin::name_origin;
#[cfg(feature = "sessions")]
pub use self::session::{MemoryStore, Session, SessionStore, Sessions};
pub use self::{
    guard::{And, Guard, GuardRequest},
    hosts::AllowedHosts,
    layer::{GuardLayer, GuardService},
    limiter::{Limiter, OverLimit, Rate},
    origin::{OriginCheck, OriginError, OriginPattern, OriginRules, Origins},
    proxy::{AddressError, TrustedProxies},
    request_id::{RequestId, RequestIds},
    traced::Traced,
};
pub use crate::{scope::UserId, socket::NoIdentify};
