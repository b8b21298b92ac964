//! The code behind a connection.

use std::sync::Arc;

use channel_layer::ChannelLayer;

use crate::{
    error::Result,
    scope::Scope,
    settings::ConnectionSettings,
    socket::{Context, Exchange, Socket},
    wire::Running,
};

/// An application: one call per connection, for as long as the connection lives.
///
/// Any `async fn(Socket) -> Result<()>` is an application; so are consumers, routers and middleware, and they
/// nest freely. [`exchange`] makes one for plain requests.
///
/// ```
/// use ws_consumer::{Input, Result, Socket};
///
/// async fn echo(mut socket: Socket) -> Result<()> {
///     socket.accept().await?;
///     while let Some(input) = socket.next().await? {
///         if let Input::Frame(frame) = input {
///             socket.send(frame).await?;
///         }
///     }
///     Ok(())
/// }
/// # fn check(_: impl ws_consumer::Application) {}
/// # check(echo);
/// ```
///
/// No function has a default: an application in front of another passes every question on.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no application",
    note = "an application is an `async fn(Socket) -> ws_consumer::Result<()>`, a `Router`, or a consumer with `consumer(Type::default)`",
    note = "a guard is no application: put it in front of one with `guard.around(application)`"
)]
pub trait Application: Send + Sync + 'static {
    /// Serves one connection. It ends when the future does: with `Ok` normally, with an error as the error says.
    fn call(&self, context: Context) -> Running;

    /// Returns the settings of the connection that this request opens, made of those around the application. A server asks before
    /// the [call](Self::call). Only [`ConnectionOptions`](crate::ConnectionOptions) change settings; all other applications return
    /// what they get, or pass the question on.
    fn settings_at(&self, scope: &Scope, around: ConnectionSettings) -> ConnectionSettings;

    /// Returns the channel layers that [`settings_at`](Self::settings_at) may choose in place of the service's.
    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>>;

    /// Whether the application acts on credentials that a browser adds to a request by itself, such as cookies.
    ///
    /// If it does, it needs an origin check in front, and a server refuses to start without one.
    fn uses_ambient_credentials(&self) -> bool;

    /// The answer of [`uses_ambient_credentials`](Self::uses_ambient_credentials) for this request: a
    /// [`Router`](crate::Router) asks the route that serves it.
    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool;

    /// Whether it serves this request. A [`Router`](crate::Router) says whether it has a route, so that a router around
    /// it, or the plain pages behind it, may be asked instead. Other applications serve every request.
    fn claims(&self, scope: &Scope) -> bool;
}

impl<F, Fut> Application for F
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    fn call(&self, context: Context) -> Running {
        Box::pin(self(Socket::from_context(context)))
    }

    fn settings_at(&self, _: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        around
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        Vec::new()
    }

    fn uses_ambient_credentials(&self) -> bool {
        false
    }

    fn uses_ambient_credentials_at(&self, _: &Scope) -> bool {
        false
    }

    fn claims(&self, _: &Scope) -> bool {
        true
    }
}

impl Application for Arc<dyn Application> {
    fn call(&self, context: Context) -> Running {
        (**self).call(context)
    }

    fn settings_at(&self, scope: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        (**self).settings_at(scope, around)
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        (**self).own_layers()
    }

    fn uses_ambient_credentials(&self) -> bool {
        (**self).uses_ambient_credentials()
    }

    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        (**self).uses_ambient_credentials_at(scope)
    }

    fn claims(&self, scope: &Scope) -> bool {
        (**self).claims(scope)
    }
}

/// Makes an application of a function that answers plain requests.
///
/// ```
/// use http::StatusCode;
/// use ws_consumer::{Exchange, Result, Router, exchange};
///
/// async fn hello(mut exchange: Exchange) -> Result<()> {
///     exchange.send_response(StatusCode::OK, "hello").await
/// }
///
/// let requests = Router::new().application("/hello", exchange(hello));
/// ```
pub fn exchange<F, Fut>(answer: F) -> impl Application
where
    F: Fn(Exchange) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    from_fn(move |context| Box::pin(answer(Exchange::from_context(context))))
}

/// Makes an application of a function. It serves every request.
pub(crate) fn from_fn(call: impl Fn(Context) -> Running + Send + Sync + 'static) -> impl Application {
    CallFn(call)
}

struct CallFn<F>(F);

impl<F: Fn(Context) -> Running + Send + Sync + 'static> Application for CallFn<F> {
    fn call(&self, context: Context) -> Running {
        self.0(context)
    }

    fn settings_at(&self, _: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        around
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        Vec::new()
    }

    fn uses_ambient_credentials(&self) -> bool {
        false
    }

    fn uses_ambient_credentials_at(&self, _: &Scope) -> bool {
        false
    }

    fn claims(&self, _: &Scope) -> bool {
        true
    }
}
