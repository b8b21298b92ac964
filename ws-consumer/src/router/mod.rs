//! Which application serves which URL.

mod pattern;

use std::sync::Arc;

use self::pattern::Pattern;
use crate::{
    application::Application,
    consumer::{Consumer, consumer},
    error::{Error, Result},
    socket::Socket,
    wire::Running,
};
use http::StatusCode;

/// Applications by URL pattern. The first registered pattern that matches serves; none refuses with 404.
///
/// A pattern is a path whose segments may be `{name}`, which matches one whole segment that is not empty and
/// gives its percent-decoded text as [`scope().param("name")`](crate::Scope::param).
///
/// ```
/// use ws_consumer::{Consumer, NoEvents, Router};
///
/// #[derive(Default)]
/// struct Chat;
/// impl Consumer for Chat { type Event = NoEvents; }
///
/// let router = Router::new()
///     .consumer("/ws/chat/{room}/", Chat::default)
///     .consumer("/ws/status", Chat::default);
/// ```
#[derive(Clone, Default)]
pub struct Router {
    routes: Vec<Route>,
}

#[derive(Clone)]
struct Route {
    pattern: Pattern,
    application: Arc<dyn Application>,
}

impl Router {
    /// A router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `pattern` with a consumer, made anew for each connection.
    ///
    /// # Panics
    /// When the pattern is none; the message says why.
    pub fn consumer<C: Consumer>(self, pattern: &str, make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        self.application(pattern, consumer(make))
    }

    /// Serves `pattern` with any application.
    ///
    /// # Panics
    /// When the pattern is none; the message says why.
    pub fn application(mut self, pattern: &str, application: impl Application) -> Self {
        let parsed = Pattern::parse(pattern).unwrap_or_else(|fault| panic!("pattern `{pattern}`: {fault}"));
        self.routes.push(Route { pattern: parsed, application: Arc::new(application) });
        self
    }

    fn find(&self, socket: &mut Socket) -> Result<&Route> {
        let scope = socket.scope_mut();
        for route in &self.routes {
            if let Some(params) = route.pattern.matches(scope.uri.path())? {
                params.into_iter().for_each(|(name, value)| scope.push_param(name, value));
                return Ok(route);
            }
        }
        Err(Error::Refused(StatusCode::NOT_FOUND))
    }
}

impl Application for Router {
    fn call(&self, mut socket: Socket) -> Running {
        match self.find(&mut socket) {
            Ok(route) => route.application.call(socket),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.routes.iter().any(|route| route.application.uses_ambient_credentials())
    }
}
