//! The request that a guard examines.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, request::Parts};

use super::proxy::TrustedProxies;
use crate::{
    frame::{Close, Frame},
    scope::{Protocol, headers},
    socket::Context,
    wire::{AnswerHook, Connection, Verdict},
};

/// The request of a client that a [`Guard`](super::Guard) admits or refuses.
#[non_exhaustive]
pub struct GuardRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The requested URI. A guard removes secrets from it.
    pub uri: &'a mut Uri,
    /// The headers.
    pub headers: &'a mut HeaderMap,
    /// The other end of the connection: a client, or the nearest proxy.
    pub peer: Option<SocketAddr>,
    /// The findings of guards, by type.
    pub extensions: &'a mut Extensions,
    protocol: Protocol,
    is_recheck: bool,
    response: ResponseHooks<'a>,
}

/// The place where hooks for the response wait.
enum ResponseHooks<'a> {
    Collected(Vec<AnswerHook>),
    Connection(&'a Connection),
}

impl<'a> GuardRequest<'a> {
    /// The request of a connection.
    pub(super) fn from_connection(context: &'a mut Context, connection: &'a Connection) -> Self {
        let scope = context.scope_mut();
        Self {
            method: &scope.method,
            uri: &mut scope.uri,
            headers: &mut scope.headers,
            peer: scope.peer,
            extensions: &mut scope.extensions,
            protocol: scope.protocol,
            is_recheck: connection.profile().decides_only,
            response: ResponseHooks::Connection(connection),
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
            response: ResponseHooks::Collected(Vec::new()),
        }
    }

    /// Whether the client asks for a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.protocol == Protocol::WebSocket
    }

    /// Whether the client of a resumable session is checked again. Guards that count connections have counted it before.
    pub fn is_recheck(&self) -> bool {
        self.is_recheck
    }

    /// The client's address: the peer's, or the one reported by [`TrustedProxies`](super::TrustedProxies).
    pub fn client(&self) -> Option<IpAddr> {
        TrustedProxies::default().or_from(self.extensions).client(self.peer, self.headers)
    }

    /// The value of a header that occurs exactly once and is visible ASCII.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        headers::single(self.headers, name)?.to_str().ok()
    }

    /// Adds a header to the response, whatever its status.
    pub fn add_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.on_answer(move |headers| {
            headers.append(name, value);
        });
    }

    /// Calls `hook` with the headers of the response before it is sent. The hook must be short.
    pub fn on_answer(&mut self, hook: impl FnOnce(&mut HeaderMap) + Send + 'static) {
        match &mut self.response {
            ResponseHooks::Collected(hooks) => hooks.push(Box::new(hook)),
            ResponseHooks::Connection(connection) => connection.on_answer(Box::new(hook)),
        }
    }

    /// Calls `meter` with each frame of the client before the application sees it. A returned [`Close`] ends the
    /// connection instead. The callback must be short. Plain HTTP has no frames.
    pub fn on_frame(&mut self, mut meter: impl FnMut(&Frame) -> Option<Close> + Send + 'static) {
        self.meter(move |frame| meter(frame).map_or(Verdict::Pass, Verdict::Close));
    }

    pub(super) fn meter(&mut self, meter: impl FnMut(&Frame) -> Verdict + Send + 'static) {
        if let ResponseHooks::Connection(connection) = &self.response {
            connection.meter(Box::new(meter));
        }
    }

    pub(super) fn into_hooks(self) -> Vec<AnswerHook> {
        match self.response {
            ResponseHooks::Collected(hooks) => hooks,
            ResponseHooks::Connection(_) => Vec::new(),
        }
    }
}
