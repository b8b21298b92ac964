//! What stands behind a connection.

use std::sync::Arc;

use crate::{error::Result, scope::Scope, socket::Socket, wire::Running};

/// One call per connection, for as long as the connection lives.
///
/// Any `async fn(Socket) -> Result<()>` is an application; so are consumers, routers and middleware, and they
/// nest freely.
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no application",
    note = "an application is an `async fn(Socket) -> ws_consumer::Result<()>`, a `Router`, or a consumer with `consumer(Type::default)`"
)]
pub trait Application: Send + Sync + 'static {
    /// Serves one connection. It ends when the future does: with `Ok` normally, with an error as the error says.
    fn call(&self, socket: Socket) -> Running;

    /// Does what is behind act on credentials that a browser adds to a request by itself, such as cookies?
    ///
    /// If it does, it needs an origin check in front, and a server refuses to start without one. Applications that
    /// pass sockets on to others pass this on, too.
    fn uses_ambient_credentials(&self) -> bool {
        false
    }

    /// Returns the answer of [`uses_ambient_credentials`](Self::uses_ambient_credentials) for this request: a
    /// [`Router`](crate::Router) asks the route that serves it. By default the same for all requests.
    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        let _ = scope;
        self.uses_ambient_credentials()
    }

    /// Would it serve this request? By default every one. A [`Router`](crate::Router) says whether it has a route, so
    /// that a router around it, or the plain pages behind it, may be asked instead. What stands in front of another
    /// application hands the question on.
    fn claims(&self, scope: &Scope) -> bool {
        let _ = scope;
        true
    }
}

impl<F, Fut> Application for F
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    fn call(&self, socket: Socket) -> Running {
        Box::pin(self(socket))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Application for Arc<dyn Application> {
    fn call(&self, socket: Socket) -> Running {
        (**self).call(socket)
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
