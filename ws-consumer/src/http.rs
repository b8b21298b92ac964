//! [`HttpConsumer`]: one value per request, until its response is complete.

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::{
    application::Application,
    consumer::{Decoded, Hook, decode, finish, join_groups},
    error::{Error, Result},
    scope::Scope,
    socket::Socket,
    wire::{Input, Refuse, Running},
};

/// Handles one plain HTTP request: at once, in parts, or when the channel layer brings something.
///
/// A consumer lives until the response is complete or the client leaves, even after [`handle`](Self::handle)
/// has returned. If it then waits for events, and a guard has identified the user, it also receives events
/// [sent to that user](crate::UsersExt). Served by [`Protocols::requests`](crate::Protocols::requests).
///
/// ```
/// use bytes::Bytes;
/// use http::StatusCode;
/// use ws_consumer::{HttpConsumer, NoEvents, Result, Router, Socket};
///
/// #[derive(Default)]
/// struct Shout;
///
/// impl HttpConsumer for Shout {
///     type Event = NoEvents;
///
///     async fn handle(&mut self, socket: &mut Socket, body: Bytes) -> Result<()> {
///         socket.send_response(StatusCode::OK, body.to_ascii_uppercase()).await
///     }
/// }
///
/// let requests = Router::new().http("/shout", Shout::default);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no consumer of HTTP requests",
    note = "implement `HttpConsumer` for it: `type Event` has to be named (`NoEvents` will do), and `handle`"
)]
pub trait HttpConsumer: Send + 'static {
    /// The messages of the channel layer that it understands; [`NoEvents`](crate::NoEvents) if none.
    type Event: DeserializeOwned + Send + Sync + 'static;

    /// The groups that it is in from the beginning.
    const GROUPS: &'static [&'static str] = &[];
    /// Bytes of a request's body that [`handle`](Self::handle) is given; more is refused with 413. 1 MiB.
    const MAX_BODY: usize = 1 << 20;

    /// The request has come, with all of its body.
    ///
    /// Answer with [`send_response`](Socket::send_response), or with [`send_headers`](Socket::send_headers) and then
    /// [`send_body`](Socket::send_body) as often as you like, here or in [`event`](Self::event).
    fn handle(&mut self, socket: &mut Socket, body: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// The request's head has come. By default its body is read, and handed to [`handle`](Self::handle); to take a long
    /// one in parts, read it here with [`next_body`](Socket::next_body).
    fn begin(&mut self, socket: &mut Socket) -> impl Future<Output = Result<()>> + Send {
        async {
            let body = socket.body(Self::MAX_BODY).await?;
            self.handle(socket, body).await
        }
    }

    /// The channel layer brought a message. By default it is ignored.
    fn event(&mut self, socket: &mut Socket, event: &Self::Event) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// The response is complete, or the client has left. Runs exactly once.
    fn disconnect(&mut self, socket: &mut Socket) -> impl Future<Output = ()> + Send {
        let _ = socket;
        async {}
    }
}

/// The application that makes an HTTP consumer per request.
pub fn http_consumer<C, F>(make: F) -> impl Application
where
    C: HttpConsumer,
    F: Fn() -> C + Send + Sync + 'static,
{
    move |socket| drive(make(), socket)
}

async fn drive<C: HttpConsumer>(mut consumer: C, mut socket: Socket) -> Result<()> {
    let outcome = live(&mut consumer, &mut socket).await;
    finish(&mut socket, outcome, async |socket: &mut Socket, _| consumer.disconnect(socket).await).await
}

async fn live<C: HttpConsumer>(consumer: &mut C, socket: &mut Socket) -> Result<()> {
    if socket.is_websocket() {
        return Err(Error::Refused(StatusCode::BAD_REQUEST));
    }
    let connection = socket.connection().clone();
    let begin = async {
        join_groups(socket, C::GROUPS).await?;
        consumer.begin(socket).await
    };
    Box::pin(Hook::new(connection.clone(), begin)).await?;
    if socket.may_hear() {
        socket.identify_user().await?;
    }
    while socket.may_hear() {
        match poll_fn(|cx| socket.poll_next(cx)).await? {
            None => return Ok(()),
            Some(Input::Event(message)) => {
                if let Decoded(Some(event)) = message.derived(decode::<C::Event>) {
                    Hook::new(connection.clone(), consumer.event(socket, event)).await?;
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// An application that only WebSockets may use: a plain request is answered with 426.
///
/// One that serves both asks [`Socket::is_websocket`] itself.
pub fn require_websocket<A: Application>(application: A) -> impl Application {
    RequireWebsocket(application)
}

struct RequireWebsocket<A>(A);

#[deny(clippy::missing_trait_methods)]
impl<A: Application> Application for RequireWebsocket<A> {
    fn call(&self, mut socket: Socket) -> Running {
        if socket.is_websocket() {
            return self.0.call(socket);
        }
        Box::pin(async move {
            let mut refuse = Refuse::from(StatusCode::UPGRADE_REQUIRED);
            refuse.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            refuse.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            socket.refuse(refuse).await
        })
    }

    fn claims(&self, scope: &Scope) -> bool {
        self.0.claims(scope)
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.0.uses_ambient_credentials()
    }

    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        self.0.uses_ambient_credentials_at(scope)
    }
}
