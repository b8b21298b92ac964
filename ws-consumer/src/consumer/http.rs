//! [`HttpConsumer`]: one value per request, until its response is complete.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use channel_layer::ChannelLayer;
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;

use super::drive::{DecodedEvent, Hook, decode, finish, join_groups};
use crate::{
    application::{Application, exchange},
    error::{Error, Result},
    scope::Scope,
    settings::ConnectionSettings,
    socket::{Context, Exchange},
    wire::{Input, Refuse, Running},
};

/// Handles one plain HTTP request, of any [method](crate::Scope::method): at once, in parts, or when the channel layer brings something.
///
/// A consumer lives until the response is complete or the client leaves, even after [`handle`](Self::handle)
/// has returned. If it then waits for events, and a guard has identified the user, it also receives events
/// [sent to that user](crate::UsersExt). Served by [`Protocols::requests`](crate::Protocols::requests).
///
/// ```
/// use bytes::Bytes;
/// use ws_consumer::{Exchange, HttpConsumer, NoEvents, Result, Router};
///
/// #[derive(Default)]
/// struct Shout;
///
/// impl HttpConsumer for Shout {
///     type Event = NoEvents;
///
///     async fn handle(&mut self, exchange: &mut Exchange, body: Bytes) -> Result<()> {
///         exchange.respond(String::from_utf8_lossy(&body).to_uppercase()).await
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
    /// The messages of the channel layer that the consumer understands; [`NoEvents`](crate::NoEvents) if none.
    type Event: DeserializeOwned + Send + Sync + 'static;

    /// The groups that every consumer of this type joins at first.
    const GROUPS: &'static [&'static str] = &[];
    /// Bytes of a request's body that [`handle`](Self::handle) is given; more is refused with 413. 1 MiB.
    const MAX_BODY: usize = 1 << 20;

    /// Handles the request, with all of its body.
    ///
    /// Answer with [`respond`](Exchange::respond), or with [`send_headers`](Exchange::send_headers) and then
    /// [`send_body`](Exchange::send_body) as often as you like, or with an [event stream](Exchange::event_stream), here or in
    /// [`event`](Self::event).
    fn handle(&mut self, exchange: &mut Exchange, body: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Handles the request's head. By default the body is read, and handed to [`handle`](Self::handle); to take a long
    /// one in parts, read it here with [`next_body`](Exchange::next_body).
    fn begin(&mut self, exchange: &mut Exchange) -> impl Future<Output = Result<()>> + Send {
        async {
            let body = exchange.body(Self::MAX_BODY).await?;
            self.handle(exchange, body).await
        }
    }

    /// Handles a message of the channel layer. By default it is ignored.
    fn event(
        &mut self,
        exchange: &mut Exchange,
        event: &Self::Event,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (exchange, event);
        async { Ok(()) }
    }

    /// Handles the end: the response is complete, or the client has left. Runs exactly once.
    fn disconnect(&mut self, exchange: &mut Exchange) -> impl Future<Output = ()> + Send {
        let _ = exchange;
        async {}
    }
}

/// The application that makes an HTTP consumer per request.
pub fn http_consumer<C, F>(make: F) -> impl Application
where
    C: HttpConsumer,
    F: Fn() -> C + Send + Sync + 'static,
{
    exchange(move |exchange| drive(make(), exchange))
}

async fn drive<C: HttpConsumer>(mut consumer: C, mut exchange: Exchange) -> Result<()> {
    let outcome = live(&mut consumer, &mut exchange).await;
    let last = async |exchange: &mut Exchange, _| consumer.disconnect(exchange).await;
    finish(&mut exchange, outcome, last).await
}

async fn live<C: HttpConsumer>(consumer: &mut C, exchange: &mut Exchange) -> Result<()> {
    if exchange.is_websocket() {
        return Err(Error::Refused(StatusCode::BAD_REQUEST));
    }
    let connection = exchange.connection().clone();
    let begin = async {
        join_groups(exchange, C::GROUPS).await?;
        consumer.begin(exchange).await
    };
    Box::pin(Hook::new(connection.clone(), begin)).await?;
    if exchange.may_receive() {
        exchange.identify_user().await?;
    }
    while exchange.may_receive() {
        match poll_fn(|cx| exchange.poll_next(cx)).await? {
            None => return Ok(()),
            Some(Input::Event(message)) => {
                if let DecodedEvent(Some(event)) = message.derived(decode::<C::Event>) {
                    Hook::new(connection.clone(), consumer.event(exchange, event)).await?;
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// An application that only WebSockets may use: a plain request is answered with 426.
///
/// One that serves both asks [`Context::is_websocket`] itself.
pub fn require_websocket<A: Application>(application: A) -> impl Application {
    RequireWebsocket(application)
}

struct RequireWebsocket<A>(A);

impl<A: Application> Application for RequireWebsocket<A> {
    fn call(&self, mut context: Context) -> Running {
        if context.is_websocket() {
            return self.0.call(context);
        }
        Box::pin(async move {
            let mut refuse = Refuse::from(StatusCode::UPGRADE_REQUIRED);
            refuse.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            refuse.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            context.refuse(refuse).await
        })
    }

    fn claims(&self, scope: &Scope) -> bool {
        self.0.claims(scope)
    }

    fn settings_at(&self, scope: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        self.0.settings_at(scope, around)
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        self.0.own_layers()
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.0.uses_ambient_credentials()
    }

    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        self.0.uses_ambient_credentials_at(scope)
    }
}
