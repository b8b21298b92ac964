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
        let outcome = live(&mut consumer, &mut socket).await;
        if let Err(error) = &outcome {
            report(&socket, error);
        }
        // The client is told before `disconnect`, which may take its time.
        socket.link().conclude(&outcome);
        let close = socket.closed().unwrap_or_default();
        let link = socket.link().clone();
        let last = Hook::new(link, async {
            consumer.disconnect(&mut socket, close).await;
            Ok(())
        });
        if let Err(error) = Box::pin(last).await {
            report(&socket, &error);
        }
        outcome
    }
}

async fn live<C: Consumer>(consumer: &mut C, socket: &mut Socket) -> Result<()> {
    let link = socket.link().clone();
    Box::pin(Hook::new(link.clone(), consumer.connect(socket))).await?;
    if link.phase() == Phase::Undecided {
        tracing::warn!(path = socket.scope().path(), "connect neither accepted nor refused: refusing");
        return Ok(());
    }
    while let Some(input) = poll_fn(|cx| socket.poll_next(cx)).await {
        let handled = match input {
            Input::Frame(frame) => Hook::new(link.clone(), consumer.receive(socket, frame)).await,
            Input::Event(message) => match message.derived(decode::<C::Event>) {
                Decoded(Some(event)) => Hook::new(link.clone(), consumer.event(socket, event)).await,
                Decoded(None) => Ok(()),
            },
        };
        match handled {
            Ok(()) => {}
            Err(error @ (Error::Closed | Error::Panic(_))) => return Err(error),
            Err(error) => Box::pin(Hook::new(link.clone(), consumer.error(socket, error))).await?,
        }
    }
    Ok(())
}

/// A message as somebody's event, or nothing for a message that is none: kept with it, so that a thousand
/// consumers decode it, and log it, once.
struct Decoded<E>(Option<E>);

fn decode<E: DeserializeOwned>(message: &Message) -> Decoded<E> {
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

fn report(socket: &Socket, error: &Error) {
    let path = socket.scope().path();
    match error {
        Error::Closed | Error::Refused(_) => {}
        error if error.is_bad_input() => tracing::debug!(path, %error, "bad input"),
        error => tracing::error!(path, %error, "a consumer failed"),
    }
}
