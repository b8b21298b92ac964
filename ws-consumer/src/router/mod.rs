//! The router: applications by URL pattern.

mod converter;
mod error;
mod index;
mod pattern;
mod regex;
mod reverse;

use std::{collections::HashMap, sync::Arc};

use channel_layer::ChannelLayer;
use http::{Extensions, StatusCode};

pub use self::error::RouteError;
use self::{
    converter::Converters,
    index::{Hit, Index},
    pattern::RoutePattern,
    regex::RegexRoute,
    reverse::Reverse,
};
use crate::{
    application::Application,
    consumer::{ConcurrentConsumer, Consumer, HttpConsumer, concurrent, consumer, http_consumer},
    error::{Error, Result},
    options::ConnectionOptions,
    scope::Scope,
    settings::ConnectionSettings,
    socket::Context,
    typed::{ServedBy, TypedRequests, typed, typed_requests},
    wire::Running,
};

/// Applications by URL pattern. The first registered pattern that matches serves; none refuses with 404.
///
/// ```
/// use ws_consumer::{Consumer, NoEvents, Router, consumer};
///
/// #[derive(Default)]
/// struct Chat;
/// impl Consumer for Chat { type Event = NoEvents; }
///
/// let rooms = Router::new()
///     .consumer("/{room}/", Chat::default).name("room")
///     .consumer("/{room}/{day:int}", Chat::default);
/// let router = Router::new()
///     .nest("/ws/chat", rooms)
///     .re_path(r"ws/old/(?P<room>\w+)/$", consumer(Chat::default));
/// assert_eq!(router.url_for("room", &[("room", "汉")])?, "/ws/chat/%E6%B1%89/");
/// # Ok::<(), ws_consumer::RouteError>(())
/// ```
///
/// # Patterns
///
/// A pattern is a path that begins with `/`. A segment may be a parameter, which takes one whole segment that is not
/// empty and gives its text as [`scope().param("name")`](Scope::param), or all of them by
/// [`scope().params::<T>()`](Scope::params):
///
/// | parameter | takes |
/// |---|---|
/// | `{name}`, `{name:str}` | any text |
/// | `{name:int}` | digits |
/// | `{name:slug}` | ASCII letters, digits, `-` and `_` |
/// | `{name:uuid}` | a UUID in lower case, with hyphens |
/// | `{name:path}` | the rest of the path, slashes included; only at the end |
/// | `{name:custom}` | the texts that [`converter("custom", ..)`](Router::converter) accepts |
///
/// The path is cut at its slashes before it is percent-decoded, so an encoded slash is part of a segment. Each segment is
/// decoded once. A parameter whose bytes are no UTF-8 is refused with 400.
///
/// # Regular expressions
///
/// [`re_path`](Self::re_path) takes the patterns of Django Channels' `re_path` as they are: the expression is *searched*
/// for in the decoded path without its one leading `/`, so it is anchored only by `^` and `$`. Named groups are
/// parameters by name; without any, groups are parameters by number, from `0`. Matching takes linear time for every pattern
/// and path; look-around and back-references, which make that impossible, are errors.
///
/// # Nesting
///
/// [`nest`](Self::nest) puts a router behind a prefix of whole segments. If that router has no route for the rest of the
/// path, the routes after it are tried. A root path, under which a proxy serves the whole server, is such a prefix.
#[derive(Clone, Default)]
pub struct Router {
    routes: Vec<Route>,
    index: Index,
    /// The routes that are regular expressions, by number.
    regexes: Vec<(usize, RegexRoute)>,
    converters: Converters,
    names: HashMap<String, Reverse>,
    /// Values for the scopes of all routes, by type.
    state: Extensions,
}

#[derive(Clone)]
struct Route {
    application: Arc<dyn Application>,
    /// The names of the pattern's parameters, shared with the scopes that it matched.
    names: Vec<Arc<str>>,
    /// The way back from parameters to the URL.
    reverse: Reverse,
    /// Whether the route serves the rest of the path behind a prefix.
    is_prefix: bool,
    /// Fixed parameters.
    params: Vec<(Arc<str>, Box<str>)>,
}

impl Router {
    /// A router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `pattern` with a consumer, made anew for each connection.
    ///
    /// # Panics
    /// If the pattern is invalid; the message gives the reason.
    #[track_caller]
    pub fn consumer<C: Consumer>(self, pattern: &str, make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        self.application(pattern, consumer(make))
    }

    /// Serves `pattern` with a typed consumer, made anew for each connection. One with [requests](TypedRequests) is served
    /// by [`typed_requests`](Self::typed_requests), and does not compile here.
    ///
    /// # Panics
    /// If the pattern is invalid; the message gives the reason.
    #[track_caller]
    pub fn typed<C: ServedBy<Function>, Function>(
        self,
        pattern: &str,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self {
        self.application(pattern, typed(make))
    }

    /// Serves `pattern` with a consumer whose hooks run at the same time, made anew for each connection.
    ///
    /// # Panics
    /// If the pattern is invalid; the message gives the reason.
    #[track_caller]
    pub fn concurrent<C: ConcurrentConsumer>(
        self,
        pattern: &str,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self {
        self.application(pattern, concurrent(make))
    }

    /// Serves `pattern` with a typed consumer that answers requests, made anew for each connection.
    ///
    /// # Panics
    /// If the pattern is invalid; the message gives the reason.
    #[track_caller]
    pub fn typed_requests<C: TypedRequests>(
        self,
        pattern: &str,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self {
        self.application(pattern, typed_requests(make))
    }

    /// Serves `pattern` with an HTTP consumer, made anew for each request. A service serves it if the router is in
    /// [`Protocols::requests`](crate::Protocols::requests) or [`both`](crate::Protocols::both); `websocket` alone answers 404.
    ///
    /// # Panics
    /// If the pattern is invalid; the message gives the reason.
    #[track_caller]
    pub fn http<C: HttpConsumer>(self, pattern: &str, make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        self.application(pattern, http_consumer(make))
    }

    /// Serves `pattern` with any application.
    ///
    /// # Panics
    /// If the pattern is invalid; the message gives the reason.
    #[track_caller]
    pub fn application(self, pattern: &str, application: impl Application) -> Self {
        built(self.try_application(pattern, application))
    }

    /// Serves the paths in which a regular expression matches with any application.
    ///
    /// The syntax is that of the crate `regex`, with the parts of Python's that can be matched in linear time: classes are
    /// Unicode's, and `(?P<name>...)`, `\Z`, `{,n}` and comments are understood. Look-around, backreferences,
    /// conditions, atomic groups and possessive repetitions are refused.
    ///
    /// # Panics
    /// If the expression is invalid; the message gives the reason.
    #[track_caller]
    pub fn re_path(self, pattern: &str, application: impl Application) -> Self {
        built(self.try_re_path(pattern, application))
    }

    /// Serves the paths below `prefix` with another router, where it has routes.
    ///
    /// # Panics
    /// If the prefix is no valid pattern, or both routers have a route of the same name.
    #[track_caller]
    pub fn nest(mut self, prefix: &str, router: Self) -> Self {
        let inner: Vec<_> = router.names.iter().map(|(name, inner)| (name.clone(), inner.clone())).collect();
        self = self.mount(prefix, router);
        let outer = self.last().reverse.clone();
        for (name, inner) in inner {
            self.insert_name(name, outer.clone().then(inner));
        }
        self
    }

    /// Serves the paths below `prefix` that an application [claims](Application::claims): a router behind middleware.
    ///
    /// # Panics
    /// If the prefix is no valid pattern; the message gives the reason.
    #[track_caller]
    pub fn mount(mut self, prefix: &str, application: impl Application) -> Self {
        let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
        let parsed = RoutePattern::parse_prefix(trimmed, &self.converters);
        let pattern = built(parsed.map_err(|fault| RouteError::new(prefix, fault)));
        self.index.insert_prefix(&pattern, self.routes.len());
        self.push(application, Some(pattern), true);
        self
    }

    /// Mounts an application below a regular expression: see [`mount`](Self::mount). The rest of the path after the match is
    /// served.
    ///
    /// # Panics
    /// If the expression is invalid; the message gives the reason.
    #[track_caller]
    pub fn re_mount(mut self, prefix: &str, application: impl Application) -> Self {
        let regex = RegexRoute::parse(prefix);
        let regex = built(regex.map_err(|fault| RouteError::new(prefix, fault)));
        self.regexes.push((self.routes.len(), regex));
        self.push(application, None, true);
        self
    }

    /// Serves a pattern that is not known at compile time: see [`application`](Self::application).
    ///
    /// # Errors
    /// The pattern is invalid.
    pub fn try_application(
        mut self,
        pattern: &str,
        application: impl Application,
    ) -> Result<Self, RouteError> {
        let parsed = RoutePattern::parse(pattern, &self.converters);
        let parsed = parsed.map_err(|fault| RouteError::new(pattern, fault))?;
        self.index.insert(&parsed, self.routes.len());
        self.push(application, Some(parsed), false);
        Ok(self)
    }

    /// Serves an expression that is not known at compile time: see [`re_path`](Self::re_path).
    ///
    /// # Errors
    /// The expression is invalid.
    pub fn try_re_path(mut self, pattern: &str, application: impl Application) -> Result<Self, RouteError> {
        let regex = RegexRoute::parse(pattern).map_err(|fault| RouteError::new(pattern, fault))?;
        self.regexes.push((self.routes.len(), regex));
        self.push(application, None, false);
        Ok(self)
    }

    /// Adds a kind of parameter, `{x:name}`, for the segments that `accepts` accepts. It applies to later routes.
    ///
    /// # Panics
    /// If the name is taken or invalid.
    #[track_caller]
    pub fn converter(mut self, name: &str, accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        if let Err(fault) = self.converters.insert(name, Arc::new(accepts)) {
            panic!("converter `{name}`: {fault}");
        }
        self
    }

    /// Names the last route, for [`url_for`](Self::url_for).
    ///
    /// # Panics
    /// If the router has no route yet, or the name is taken.
    #[track_caller]
    pub fn name(mut self, name: &str) -> Self {
        let reverse = self.last().reverse.clone();
        self.insert_name(name.to_owned(), reverse);
        self
    }

    /// Gives these options to the connections of the last route: its channel layer, mailbox and limits.
    ///
    /// # Panics
    /// If the router has no route yet.
    #[track_caller]
    pub fn options(mut self, options: ConnectionOptions) -> Self {
        let route = self.last();
        route.application = Arc::new(options.around(route.application.clone()));
        self
    }

    /// Adds a fixed parameter to the last route, or replaces one of its pattern.
    ///
    /// # Panics
    /// If the router has no route yet.
    #[track_caller]
    pub fn with_param(mut self, name: &str, value: &str) -> Self {
        self.last().params.push((name.into(), value.into()));
        self
    }

    /// Gives a clone of `value` to every connection of this router, for [`Scope::state`]: usually an `Arc`. One value of
    /// each type is kept. A value of a nested router, or of this router, takes precedence over one from further out.
    pub fn with_state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.state.insert(value);
        self
    }

    /// Returns the percent-encoded path of a route with these parameters.
    ///
    /// # Errors
    /// No route has this name, the route is a regular expression, or a parameter is missing or not accepted by the route.
    pub fn url_for(&self, name: &str, params: &[(&str, &str)]) -> Result<String, RouteError> {
        let reverse = self.names.get(name).ok_or_else(|| "no route has this name".to_owned());
        reverse.and_then(|reverse| reverse.url(params)).map_err(|fault| RouteError::new(name, fault))
    }

    fn push(&mut self, application: impl Application, pattern: Option<RoutePattern>, is_prefix: bool) {
        let names = pattern.as_ref().map(RoutePattern::names).unwrap_or_default();
        let (application, reverse) = (Arc::new(application), Reverse::new(pattern));
        self.routes.push(Route { application, names, reverse, is_prefix, params: Vec::new() });
    }

    #[track_caller]
    fn last(&mut self) -> &mut Route {
        self.routes.last_mut().expect("a route comes first")
    }

    #[track_caller]
    fn insert_name(&mut self, name: String, reverse: Reverse) {
        let taken = self.names.insert(name.clone(), reverse).is_some();
        assert!(!taken, "two routes are named `{name}`");
    }

    /// Returns all matching routes in the order of their registration.
    fn hits<'p>(&self, path: &'p str) -> Vec<Hit<'p>> {
        let mut hits = self.index.find(path);
        let first = hits.iter().filter(|hit| !self.routes[hit.route].is_prefix).map(|hit| hit.route).min();
        let before = self.regexes.iter().take_while(|(route, _)| first.is_none_or(|first| *route < first));
        if !self.regexes.is_empty() {
            let decoded = pattern::decode(path);
            hits.extend(before.filter_map(|(route, regex)| regex.find(*route, path, decoded.as_deref()?)));
        }
        hits.sort_by_key(|hit| hit.route);
        hits
    }

    /// Returns the first route that serves the remaining path.
    fn find<'s>(&self, scope: &'s Scope) -> Option<Hit<'s>> {
        let serves = |hit: &Hit<'_>| {
            let route = &self.routes[hit.route];
            !route.is_prefix || route.application.claims(&scope.mounted_at(scope.mount() + hit.rest))
        };
        self.hits(scope.remaining()).into_iter().find(serves)
    }

    fn enter(&self, scope: &mut Scope) -> Result<&Route> {
        let hit = self.find(scope).ok_or(Error::Refused(StatusCode::NOT_FOUND))?;
        let (route, mount) = (&self.routes[hit.route], scope.mount() + hit.rest);
        let matched = hit.captures.params(&route.names, scope)?;
        for (name, value) in matched.into_iter().chain(route.params.iter().cloned()) {
            scope.push_param(name, value);
        }
        if route.is_prefix {
            scope.set_mount(mount);
        }
        if !self.state.is_empty() {
            scope.extensions.extend(self.state.clone());
        }
        Ok(route)
    }
}

/// Panics with the fault, at the caller's place.
#[track_caller]
fn built<T>(made: Result<T, RouteError>) -> T {
    match made {
        Ok(made) => made,
        Err(fault) => panic!("{fault}"),
    }
}

#[deny(clippy::missing_trait_methods)]
impl Application for Router {
    fn call(&self, mut context: Context) -> Running {
        match self.enter(context.scope_mut()) {
            Ok(route) => route.application.call(context),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn settings_at(&self, scope: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        let Some(hit) = self.find(scope) else { return around };
        let route = &self.routes[hit.route];
        if route.is_prefix {
            route.application.settings_at(&scope.mounted_at(scope.mount() + hit.rest), around)
        } else {
            route.application.settings_at(scope, around)
        }
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        self.routes.iter().flat_map(|route| route.application.own_layers()).collect()
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.routes.iter().any(|route| route.application.uses_ambient_credentials())
    }

    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        self.find(scope).is_some_and(|hit| {
            let route = &self.routes[hit.route];
            if route.is_prefix {
                route.application.uses_ambient_credentials_at(&scope.mounted_at(scope.mount() + hit.rest))
            } else {
                route.application.uses_ambient_credentials_at(scope)
            }
        })
    }

    fn claims(&self, scope: &Scope) -> bool {
        self.find(scope).is_some()
    }
}
