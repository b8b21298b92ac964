//! A request in the access log, whose target is `ws_consumer::access`.

use std::net::IpAddr;

use http::{Method, Request};
use tokio::time::Instant;
use tracing::field::display;

use crate::{
    application::Application,
    error::printable,
    middleware::TrustedProxies,
    scope::{Scope, original_uri, peer},
    socket::Context,
    wire::Running,
};

/// The part of a request that every entry shows.
pub(crate) struct LoggedRequest {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The client's address, if known. The proxy's, unless the proxy is trusted.
    pub(crate) client: Option<IpAddr>,
    pub(crate) began: Instant,
}

impl LoggedRequest {
    /// Returns `None`, at no cost, if no subscriber is interested.
    pub(crate) fn begin<B>(request: &Request<B>) -> Option<Self> {
        is_logged().then(|| {
            let extensions = request.extensions();
            let path = original_uri(extensions, request.uri()).path();
            let none = TrustedProxies::default();
            let client = none.or_from(extensions).client(peer(extensions), request.headers());
            Self::new(request.method(), path, client)
        })
    }

    fn new(method: &Method, path: &str, client: Option<IpAddr>) -> Self {
        Self { method: method.clone(), path: printable(path).into_owned(), client, began: Instant::now() }
    }
}

/// The log of a connection's end. By default, the end is not logged.
#[derive(Default)]
pub(crate) struct EndLog(Option<LoggedRequest>);

impl EndLog {
    /// Begins the log of a WebSocket or a session with the request that opens it. Costs nothing if no subscriber is interested.
    pub(crate) fn begin(scope: &Scope) -> Self {
        let path = || original_uri(&scope.extensions, &scope.uri).path();
        Self(is_logged().then(|| LoggedRequest::new(&scope.method, path(), scope.client())))
    }

    /// Calls the application, and logs the end of its connection if that was accepted.
    pub(crate) fn call(self, application: &dyn Application, context: Context) -> Running {
        let Some(LoggedRequest { method, path, client, began }) = self.0 else {
            return application.call(context);
        };
        let connection = context.connection().clone();
        let running = application.call(context);
        Box::pin(async move {
            let outcome = running.await;
            if let Some(code) = connection.final_code(&outcome) {
                let (method, client) = (method.as_str(), client.map(display));
                let seconds = began.elapsed().as_secs_f64();
                tracing::info!(target: "ws_consumer::access", method, path, client, code, seconds);
            }
            outcome
        })
    }
}

fn is_logged() -> bool {
    tracing::enabled!(target: "ws_consumer::access", tracing::Level::INFO)
}
