//! The loop that calls a consumer's hooks, from `connect` to `disconnect`.
//!
//! An idle connection keeps the largest of these futures in memory for as long as it lives, so the hooks that run once
//! are boxed, and gone when they are done.

use std::{
    any::{TypeId, type_name},
    future::poll_fn,
    ops::DerefMut,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use channel_layer::Message;
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tokio::time::{Sleep, sleep};

use super::{Consumer, NoEvents};
use crate::{
    application::{Application, from_fn},
    error::{Error, Result, printable},
    frame::Close,
    scope::Scope,
    socket::{Context, Socket},
    wire::{Connection, Input, Phase},
};

/// The application that makes a consumer per connection.
///
/// ```
/// # use ws_consumer::{consumer, Application, Consumer, NoEvents};
/// # #[derive(Default)] struct Silent;
/// # impl Consumer for Silent { type Event = NoEvents; }
/// let application = consumer(Silent::default);
/// # fn check(_: impl Application) {}
/// # check(application);
/// ```
pub fn consumer<C, F>(make: F) -> impl Application
where
    C: Consumer,
    F: Fn() -> C + Send + Sync + 'static,
{
    from_fn(move |context| Box::pin(drive(make(), Socket::from_context(context))))
}

/// A block, not an `async fn`: that would keep its arguments twice.
#[expect(clippy::manual_async_fn, reason = "the block is smaller")]
fn drive<C: Consumer>(mut consumer: C, mut socket: Socket) -> impl Future<Output = Result<()>> + Send {
    async move {
        if socket.connection().profile().decides_only {
            // The client passed all guards. Its consumer runs elsewhere.
            return Box::pin(socket.accept()).await;
        }
        let outcome = live(&mut consumer, &mut socket).await;
        let last = async |socket: &mut Socket, close| consumer.disconnect(socket, close).await;
        Box::pin(finish(&mut socket, outcome, last)).await
    }
}

/// Closes the connection as the outcome of the hooks says, then runs the last hook, which may take its time.
pub(crate) async fn finish<S: DerefMut<Target = Context>>(
    socket: &mut S,
    outcome: Result<()>,
    last: impl AsyncFnOnce(&mut S, Close),
) -> Result<()> {
    if let Err(error) = &outcome
        && !socket.connection().was_reported(error)
    {
        socket.report("connection", error);
    }
    socket.connection().close_for(&outcome);
    let close = socket.closed().unwrap_or_default();
    let connection = socket.connection().clone();
    let last = async {
        last(&mut *socket, close).await;
        Ok(())
    };
    if let Err(error) = Hook::new(connection, last).await {
        socket.report("disconnect", &error);
    }
    outcome
}

pub(crate) async fn join_groups(context: &mut Context, groups: &[&str]) -> Result<()> {
    for group in groups {
        context.group_add(*group).await?;
    }
    Ok(())
}

async fn live<C: Consumer>(consumer: &mut C, socket: &mut Socket) -> Result<()> {
    let connection = socket.connection().clone();
    let connect = async {
        join_groups(socket, C::GROUPS).await?;
        consumer.connect(socket).await
    };
    if let Err(error) = Box::pin(Hook::new(connection.clone(), connect)).await {
        if !socket.is_open() {
            socket.report("connect", &error);
            return Err(error);
        }
        Box::pin(fail(consumer, socket, "connect", error)).await?;
    }
    if is_undecided(socket) {
        return Ok(());
    }
    loop {
        let next = poll_fn(|cx| socket.poll_next(cx)).await;
        let (hook, handled) = match next.transpose() {
            None => return Ok(()),
            Some(Err(error)) => ("event", Err(error)),
            Some(Ok(input)) => match input {
                Input::Frame(frame) => {
                    ("receive", Hook::new(connection.clone(), consumer.receive(socket, frame)).await)
                }
                Input::Event(message) => match message.derived(decode::<C::Event>) {
                    DecodedEvent(Some(event)) => {
                        ("event", Hook::new(connection.clone(), consumer.event(socket, event)).await)
                    }
                    DecodedEvent(None) => continue,
                },
                Input::Layer(event) => {
                    let hook = consumer.layer_event(socket, event);
                    ("layer_event", Box::pin(Hook::new(connection.clone(), hook)).await)
                }
                Input::Resumed(resumed) => {
                    let hook = consumer.resumed(socket, resumed);
                    ("resumed", Box::pin(Hook::new(connection.clone(), hook)).await)
                }
                Input::Body { .. } => continue,
            },
        };
        if let Err(error) = handled {
            Box::pin(fail(consumer, socket, hook, error)).await?;
        }
    }
}

/// Returns whether `connect` has neither accepted nor refused, which the log says.
pub(crate) fn is_undecided(context: &Context) -> bool {
    let is_undecided = context.connection().phase() == Phase::Undecided;
    if is_undecided {
        let path = &*printable(context.scope().raw_path());
        tracing::warn!(path, "connect neither accepted nor refused: refusing");
    }
    is_undecided
}

/// Handles the failure of a hook on an open connection. An error returned from here ends the connection.
async fn fail<C: Consumer>(
    consumer: &mut C,
    socket: &mut Socket,
    hook: &'static str,
    error: Error,
) -> Result<()> {
    let connection = socket.connection().clone();
    let handled = match handleable(&connection, socket.scope(), hook, error) {
        Ok(error) => Hook::new(connection.clone(), consumer.error(socket, error)).await,
        Err(error) => Err(error),
    };
    match &handled {
        Ok(()) => connection.set_survived(),
        Err(error) if connection.was_reported(error) => {}
        Err(error) => socket.report(hook, error),
    }
    handled
}

/// Returns an error of `hook` that the `error` hook is to handle.
pub(crate) fn handleable(
    connection: &Connection,
    scope: &Scope,
    hook: &'static str,
    error: Error,
) -> Result<Error> {
    if matches!(error, Error::Closed | Error::Panic(_)) {
        return Err(error);
    }
    // An operator has to know of these failures, even if the hook handles them.
    if error.is_layer_outage() || matches!(error, Error::Misuse(_) | Error::Overloaded(_)) {
        connection.report(Some(scope.raw_path()), hook, &error);
    }
    Ok(error)
}

/// A message as an event of type `E`; `None` if it is not one. Kept with the message, so that a thousand consumers decode
/// it, and log it, once.
pub(crate) struct DecodedEvent<E>(pub(crate) Option<E>);

pub(crate) fn decode<E: DeserializeOwned + 'static>(message: &Message) -> DecodedEvent<E> {
    let decoded = message.decode();
    if let Err(error) = &decoded {
        let (r#type, event) = (message.event_type(), type_name::<E>());
        let cause = std::error::Error::source(error).map(ToString::to_string);
        if TypeId::of::<E>() == TypeId::of::<NoEvents>() {
            // A user's connections get what is sent to the user, whatever their consumers understand.
            tracing::debug!(r#type, "a message for a consumer without events");
        } else {
            tracing::warn!(r#type, event, cause, "a message that the consumer does not understand");
        }
    }
    DecodedEvent(decoded.ok())
}

/// The time that a hook may go on after its client has left, before it is dropped.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

pin_project! {
    /// A struct, not an `async fn`: that would keep the hook's future twice, as its argument and as its own.
    pub(crate) struct Hook<F> {
        #[pin]
        hook: F,
        connection: Arc<Connection>,
        undecided: bool,
        // Boxed: only the rare hook that outlives its client has one.
        grace: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = Result<()>>> Hook<F> {
    pub(crate) fn new(connection: Arc<Connection>, hook: F) -> Self {
        let undecided = connection.phase() == Phase::Undecided;
        Self { hook, connection, undecided, grace: None }
    }
}

impl<F: Future<Output = Result<()>>> Future for Hook<F> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Result<()>> {
        let this = self.project();
        // After a panic the consumer is in a state of its own making; only `disconnect` sees it.
        match catch_unwind(AssertUnwindSafe(|| this.hook.poll(cx))) {
            Ok(Poll::Ready(outcome)) => return Poll::Ready(outcome),
            Ok(Poll::Pending) => {}
            Err(panic) => return Poll::Ready(Err(Error::from_panic(&*panic))),
        }
        let Poll::Ready(lost) = this.connection.poll_closed(cx) else { return Poll::Pending };
        // The client is gone: its decision has no use.
        if *this.undecided && lost {
            return Poll::Ready(Err(Error::Closed));
        }
        let grace = this.grace.get_or_insert_with(|| Box::pin(sleep(GRACE)));
        grace.as_mut().poll(cx).map(|()| Err(Error::Closed))
    }
}
