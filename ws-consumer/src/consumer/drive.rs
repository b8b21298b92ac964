//! What calls the hooks, from `connect` to `disconnect`.
//!
//! An idle connection keeps the largest of these futures in memory for as long as it lives, so the hooks that run once
//! are boxed, and gone when they are done.

use std::future::poll_fn;

use channel_layer::Message;
use serde::de::DeserializeOwned;

use super::{Consumer, hook::Hook};
use crate::{
    error::{Error, Result},
    frame::Close,
    scope::printable,
    socket::Socket,
    wire::{Input, Phase},
};

/// A block, not an `async fn`: that would keep its arguments twice.
#[expect(clippy::manual_async_fn, reason = "the block is smaller")]
pub(super) fn drive<C: Consumer>(
    mut consumer: C,
    mut socket: Socket,
) -> impl Future<Output = Result<()>> + Send {
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

/// What comes after the hooks: the client is told, and then the last hook runs, which may take its time.
pub(crate) async fn finish(
    socket: &mut Socket,
    outcome: Result<()>,
    last: impl AsyncFnOnce(&mut Socket, Close),
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

pub(crate) async fn join_groups(socket: &mut Socket, groups: &[&str]) -> Result<()> {
    for group in groups {
        socket.group_add(*group).await?;
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
    if connection.phase() == Phase::Undecided {
        let path = &*printable(socket.scope().raw_path());
        tracing::warn!(path, "connect neither accepted nor refused: refusing");
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
                    Decoded(Some(event)) => {
                        ("event", Hook::new(connection.clone(), consumer.event(socket, event)).await)
                    }
                    Decoded(None) => continue,
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

/// Handles the failure of a hook on an open connection. An error returned from here ends the connection.
async fn fail<C: Consumer>(
    consumer: &mut C,
    socket: &mut Socket,
    hook: &'static str,
    error: Error,
) -> Result<()> {
    if matches!(error, Error::Closed | Error::Panic(_)) {
        return Err(error);
    }
    // Whatever the hook makes of them, somebody has to look after them.
    if error.is_layer_outage() || matches!(error, Error::Misuse(_)) {
        socket.report(hook, &error);
    }
    let connection = socket.connection().clone();
    Hook::new(connection.clone(), consumer.error(socket, error)).await?;
    connection.set_survived();
    Ok(())
}

/// A message as somebody's event, or nothing for a message that is none: kept with it, so that a thousand
/// consumers decode it, and log it, once.
pub(crate) struct Decoded<E>(pub(crate) Option<E>);

pub(crate) fn decode<E: DeserializeOwned>(message: &Message) -> Decoded<E> {
    let decoded = message.decode();
    if let Err(error) = &decoded {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(
            r#type = message.event_type(),
            cause,
            "a message that the consumer does not understand"
        );
    }
    Decoded(decoded.ok())
}
