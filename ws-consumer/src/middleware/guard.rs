//! What a check at the door is: [`Guard`].

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, request::Parts};

use super::{guarded::Guarded, layer::GuardLayer, proxy::TrustedProxies};
use crate::{
    application::Application,
    frame::{Close, Frame},
    scope::Protocol,
    socket::Context,
    wire::{AnswerHook, Connection, Refuse, Running, Verdict},
};

/// Something that looks at a client before the application does: the same in front of sockets
/// ([`around`](Self::around)) and in front of plain HTTP ([`layer`](Self::layer)).
///
/// What it learns it leaves in [`extensions`](GuardRequest::extensions), by type.
///
/// ```
/// use http::StatusCode;
/// use ws_consumer::{Refuse, Router, middleware::{Guard, GuardRequest}};
///
/// struct Office { opens: u8 }
/// #[derive(Clone)]
/// struct Greeting(&'static str);
///
/// impl Guard for Office {
///     async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
///         if self.opens > 9 {
///             return Err(StatusCode::SERVICE_UNAVAILABLE.into());
///         }
///         request.extensions.insert(Greeting("good morning"));
///         Ok(())
///     }
/// }
///
/// let application = Office { opens: 9 }.around(Router::new());
/// # fn check(_: impl ws_consumer::Application) {}
/// # check(application);
/// ```
pub trait Guard: Send + Sync + 'static {
    /// Lets a client pass, or says with what it is refused.
    fn admit(&self, request: &mut GuardRequest<'_>) -> impl Future<Output = Result<(), Refuse>> + Send;

    /// Runs after a plain HTTP request was served, by a service or by an application, once the headers of its
    /// answer are known and before the answer is sent. `extensions` are those of the request. Not called for
    /// sockets.
    fn finish(&self, extensions: &Extensions, status: StatusCode) -> impl Future<Output = ()> + Send {
        let _ = (extensions, status);
        async {}
    }

    /// Runs the application for a client that was let pass, for as long as it lives.
    fn accompany(&self, context: Context, inner: &Arc<dyn Application>) -> Running {
        inner.call(context)
    }

    /// Does it act on credentials that a browser adds to a request by itself, such as cookies?
    fn uses_ambient_credentials(&self) -> bool {
        false
    }

    /// Does it refuse pages of foreign origins?
    fn checks_origin(&self) -> bool {
        false
    }

    /// The application with this in front.
    fn around(self, inner: impl Application) -> impl Application
    where
        Self: Sized,
    {
        Guarded::new(self, inner)
    }

    /// A tower layer that puts this in front of a service.
    fn layer(self) -> GuardLayer<Self>
    where
        Self: Sized,
    {
        GuardLayer::new(self)
    }

    /// This first, then `next`.
    fn and<G: Guard>(self, next: G) -> And<Self, G>
    where
        Self: Sized,
    {
        And(self, next)
    }
}

/// A client at the door.
#[non_exhaustive]
pub struct GuardRequest<'a> {
    /// The method of its request.
    pub method: &'a Method,
    /// Where it wants to go. A guard takes secrets out of it.
    pub uri: &'a mut Uri,
    /// The headers of its request.
    pub headers: &'a mut HeaderMap,
    /// The other end of the connection: a client, or the nearest proxy.
    pub peer: Option<SocketAddr>,
    /// What guards have learnt.
    pub extensions: &'a mut Extensions,
    protocol: Protocol,
    is_recheck: bool,
    answer: Answer<'a>,
}

enum Answer<'a> {
    Later(Vec<AnswerHook>),
    Of(&'a Connection),
}

impl<'a> GuardRequest<'a> {
    /// A client that asks for a socket.
    pub(super) fn from_socket(context: &'a mut Context, link: &'a Connection) -> Self {
        let scope = context.scope_mut();
        Self {
            method: &scope.method,
            uri: &mut scope.uri,
            headers: &mut scope.headers,
            peer: scope.peer,
            extensions: &mut scope.extensions,
            protocol: scope.protocol,
            is_recheck: link.profile().decides_only,
            answer: Answer::Of(link),
        }
    }

    /// A request of plain HTTP.
    pub(super) fn from_request(parts: &'a mut Parts) -> Self {
        let peer = crate::scope::peer(&parts.extensions);
        Self {
            method: &parts.method,
            uri: &mut parts.uri,
            headers: &mut parts.headers,
            peer,
            extensions: &mut parts.extensions,
            protocol: Protocol::Http,
            is_recheck: false,
            answer: Answer::Later(Vec::new()),
        }
    }

    /// Does it ask for a socket?
    pub fn is_websocket(&self) -> bool {
        self.protocol == Protocol::WebSocket
    }

    /// Whether the client of a resumable session is checked again. What counts connections has counted it before.
    pub fn is_recheck(&self) -> bool {
        self.is_recheck
    }

    /// The address that the client has: the peer's, or what [`TrustedProxies`](super::TrustedProxies) say.
    pub fn client(&self) -> Option<IpAddr> {
        TrustedProxies::default().or_of(self.extensions).client(self.peer, self.headers)
    }

    /// A header's value, if it is there once and is plain text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// Adds a header to the answer, whatever that will be.
    pub fn add_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.on_answer(move |headers| {
            headers.append(name, value);
        });
    }

    /// Calls `hook` with the headers of the answer when there is one. It must be short.
    pub fn on_answer(&mut self, hook: impl FnOnce(&mut HeaderMap) + Send + 'static) {
        match &mut self.answer {
            Answer::Later(hooks) => hooks.push(Box::new(hook)),
            Answer::Of(link) => link.on_answer(Box::new(hook)),
        }
    }

    /// Calls `meter` with each frame of the client before it counts; a [`Close`] ends the connection instead. It must
    /// be short. On plain HTTP there are no frames.
    pub fn on_frame(&mut self, mut meter: impl FnMut(&Frame) -> Option<Close> + Send + 'static) {
        self.meter(move |frame| meter(frame).map_or(Verdict::Pass, Verdict::Close));
    }

    pub(super) fn meter(&mut self, meter: impl FnMut(&Frame) -> Verdict + Send + 'static) {
        if let Answer::Of(link) = &self.answer {
            link.meter(Box::new(meter));
        }
    }

    pub(super) fn into_hooks(self) -> Vec<AnswerHook> {
        match self.answer {
            Answer::Later(hooks) => hooks,
            Answer::Of(_) => Vec::new(),
        }
    }
}

/// Two guards, one after the other. Made by [`Guard::and`].
#[derive(Clone, Debug)]
pub struct And<A, B>(A, B);

impl<A: Guard, B: Guard> Guard for And<A, B> {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        self.0.admit(request).await?;
        self.1.admit(request).await
    }

    async fn finish(&self, extensions: &Extensions, status: StatusCode) {
        self.1.finish(extensions, status).await;
        self.0.finish(extensions, status).await;
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.0.uses_ambient_credentials() || self.1.uses_ambient_credentials()
    }

    fn checks_origin(&self) -> bool {
        self.0.checks_origin() || self.1.checks_origin()
    }

    fn around(self, inner: impl Application) -> impl Application {
        self.0.around(self.1.around(inner))
    }
}
