//! Requests of clients to typed consumers.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};
use tokio::time::timeout;

use super::{
    adapter::FrameDecoding,
    codec::{Decode, SerdeCodec},
    consumer::{TypedConsumer, TypedSocket},
};
use crate::{
    error::{Error, Result},
    frame::Frame,
    socket::{CallAnswer, CallRef, Socket},
};

/// A [`TypedConsumer`] that also answers requests, in the form of [`Socket::answer`]: `{"ref": 7, "request": ...}` gets
/// `{"ref": 7, "reply": ...}` or `{"ref": 7, "error": "why"}`, in the consumer's codec, which is one of serde. Any other
/// frame is an [`Input`](TypedConsumer::Input).
///
/// Served by [`Router::typed_requests`](crate::Router::typed_requests); by [`Router::typed`](crate::Router::typed) it does
/// not compile.
///
/// ```
/// use std::collections::HashMap;
///
/// use serde::{Deserialize, Serialize};
/// use ws_consumer::{Error, Json, NoEvents, Result, Router, TypedConsumer, TypedRequests, TypedSocket};
///
/// #[derive(Default)]
/// struct Settings { values: HashMap<String, String> }
///
/// #[derive(Deserialize)]
/// struct Set { key: String, value: String }
///
/// #[derive(Deserialize)]
/// #[serde(tag = "type", rename_all = "lowercase")]
/// enum Request { Get { key: String }, Count }
///
/// #[derive(Serialize)]
/// #[serde(untagged)]
/// enum Reply<'a> { Value(&'a str), Count(usize) }
///
/// impl TypedConsumer for Settings {
///     type Codec = Json;
///     type Input = Set;
///     type Output<'a> = ();
///     type Event = NoEvents;
///
///     async fn receive(&mut self, _: &mut TypedSocket<'_, Self>, Set { key, value }: Set) -> Result<()> {
///         self.values.insert(key, value);
///         Ok(())
///     }
/// }
///
/// impl TypedRequests for Settings {
///     type Request = Request;
///     type Reply<'a> = Reply<'a>;
///
///     async fn request(&mut self, _: &mut TypedSocket<'_, Self>, request: Request) -> Result<Reply<'_>> {
///         match request {
///             Request::Get { key } => {
///                 let value = self.values.get(&key).ok_or_else(|| Error::bad_input("no such key"))?;
///                 Ok(Reply::Value(value))
///             }
///             Request::Count => Ok(Reply::Count(self.values.len())),
///         }
///     }
/// }
///
/// let router = Router::new().typed_requests("/settings", Settings::default);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no typed consumer that answers requests",
    note = "implement `TypedRequests` for it, or serve it by `Router::typed`"
)]
pub trait TypedRequests: TypedConsumer<Codec: SerdeCodec> {
    /// The type of the client's requests.
    type Request: DeserializeOwned + Send;
    /// The type of the replies, which may borrow from the consumer.
    type Reply<'a>: Serialize;

    /// The time in which a request is to be answered: 10 s. After it the hook is dropped, and the client gets the error
    /// `timed out`.
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Answers a request. It is a hook like the others: while it runs, no other hook does.
    ///
    /// # Errors
    /// An error of this hook is the client's reply. It gets the text of [`BadInput`](Error::BadInput), and is told of an outage of
    /// the channel layer. Of any other error it learns that the request has failed, and the error is passed to the
    /// [`error`](TypedConsumer::error) hook.
    fn request(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Reply<'_>>> + Send;
}

/// Frames that are requests or inputs.
pub(super) struct InputsAndRequests;

impl<C: TypedRequests> FrameDecoding<C> for InputsAndRequests {
    async fn receive(consumer: &mut C, socket: &mut Socket, frame: Frame) -> Result<()> {
        match C::Codec::from_frame(&frame) {
            // Boxed: an idle connection has room for the largest future of a hook.
            Ok(RequestFrame::<IgnoredAny> { r#ref, .. }) => {
                Box::pin(answer(consumer, socket, r#ref, frame)).await
            }
            Err(_) => {
                let input = C::Codec::decode(&frame)?;
                drop(frame);
                consumer.receive(&mut TypedSocket::new(socket), input).await
            }
        }
    }
}

#[derive(Deserialize)]
struct RequestFrame<Q> {
    r#ref: CallRef,
    request: Q,
}

async fn answer<C: TypedRequests>(
    consumer: &mut C,
    socket: &mut Socket,
    r#ref: CallRef,
    frame: Frame,
) -> Result<()> {
    let (answer, failure) = {
        let outcome = match C::Codec::from_frame(&frame) {
            Err(fault) => Err(fault),
            Ok(RequestFrame { request, .. }) => {
                drop(frame);
                let mut typed = TypedSocket::new(socket);
                match timeout(C::TIMEOUT, consumer.request(&mut typed, request)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(Error::bad_input("timed out")),
                }
            }
        };
        let (answer, failure) = CallAnswer::new(socket.connection(), socket.scope(), r#ref, outcome);
        (C::Codec::to_frame(&answer), failure)
    };
    socket.send(answer?).await?;
    failure.map_or(Ok(()), Err)
}
