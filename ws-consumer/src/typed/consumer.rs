//! [`TypedConsumer`], its socket, and the events that it shares with other connections.

use std::ops::{Deref, DerefMut};

use channel_layer::{GroupName, LayerEvent};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use super::{
    codec::{Codec, Decode, Encode},
    shared_outputs::SharedOutputs,
};
use crate::{
    error::{Error, Result},
    frame::{Close, Frame},
    socket::Socket,
    wire::Resumed,
};

/// A [`Consumer`](crate::Consumer) of values: frames from the client are decoded to [`Input`](Self::Input), and
/// [`Output`](Self::Output) is encoded, in the format of a
/// [`Codec`](crate::Codec).
///
/// A frame that is no `Input` is bad input, which is passed to the [`error`](Self::error) hook.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use ws_consumer::{Json, NoEvents, Result, Router, TypedConsumer, TypedSocket};
///
/// #[derive(Deserialize)]
/// struct Question { a: i64, b: i64 }
/// #[derive(Serialize)]
/// struct Answer { sum: i64 }
///
/// #[derive(Default)]
/// struct Sums;
///
/// impl TypedConsumer for Sums {
///     type Codec = Json;
///     type Input = Question;
///     type Output<'a> = Answer;
///     type Event = NoEvents;
///
///     async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, question: Question) -> Result<()> {
///         socket.send(&Answer { sum: question.a + question.b }).await
///     }
/// }
///
/// let router = Router::new().typed("/sums", Sums::default);
/// ```
///
/// # Output without copies
///
/// An output may borrow from what it is made of: `type Output<'a> = Said<'a>`. [`TypedSocket::broadcast`] encodes an output
/// once for all members of a group. An event that all consumers of this type turn into the same output is encoded
/// once by [`TypedSocket::send_shared`].
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use ws_consumer::{Json, Result, TypedConsumer, TypedSocket};
///
/// #[derive(Deserialize)]
/// struct Say { text: String }
/// #[derive(Serialize)]
/// #[serde(tag = "type", rename_all = "lowercase")]
/// enum ToClient<'a> { Said { text: &'a str }, Topic { topic: &'a str } }
/// #[derive(Deserialize)]
/// #[serde(tag = "type")]
/// enum ChatEvent {
///     #[serde(rename = "chat.topic")]
///     Topic { topic: String },
/// }
///
/// #[derive(Default)]
/// struct Chat;
///
/// impl TypedConsumer for Chat {
///     type Codec = Json;
///     type Input = Say;
///     type Output<'a> = ToClient<'a>;
///     type Event = ChatEvent;
///
///     const GROUPS: &'static [&'static str] = &["chat"];
///
///     // Past the consumers of the members.
///     async fn receive(&mut self, socket: &mut TypedSocket<'_, Self>, said: Say) -> Result<()> {
///         socket.broadcast("chat", &ToClient::Said { text: &said.text }).await
///     }
///
///     // Through them.
///     async fn event(&mut self, socket: &mut TypedSocket<'_, Self>, event: &ChatEvent) -> Result<()> {
///         socket.send_shared(event, |ChatEvent::Topic { topic }| ToClient::Topic { topic }).await
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no typed consumer",
    note = "implement `TypedConsumer` for it: its types `Codec`, `Input`, `Output` and `Event` have to be named",
    note = "a `Consumer` is served by `Router::consumer` or `consumer`"
)]
pub trait TypedConsumer: Sized + Send + 'static {
    /// The format: [`Json`](crate::Json), or a custom one.
    type Codec: Decode<Self::Input> + for<'a> Encode<Self::Output<'a>>;
    /// The type of the client's frames.
    type Input: Send;
    /// The type of frames to the client, which may borrow: `type Output<'a> = Said<'a>`, or `type Output<'a> = Said`.
    type Output<'a>;
    /// The events that the consumer accepts; [`NoEvents`](crate::NoEvents) if none.
    ///
    /// Decoded once per message, for all consumers of this type.
    type Event: DeserializeOwned + Send + Sync + 'static;

    /// The groups that every connection joins before [`connect`](Self::connect).
    const GROUPS: &'static [&'static str] = &[];

    /// Handles the connection: see [`Consumer::connect`](crate::Consumer::connect).
    fn connect(&mut self, socket: &mut TypedSocket<'_, Self>) -> impl Future<Output = Result<()>> + Send {
        async { socket.accept().await }
    }

    /// Handles a frame of the client. By default it is ignored.
    fn receive(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        input: Self::Input,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, input);
        async { Ok(()) }
    }

    /// Handles an event: see [`Consumer::event`](crate::Consumer::event).
    fn event(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        event: &Self::Event,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// Handles an event of the layer: see [`Consumer::layer_event`](crate::Consumer::layer_event).
    fn layer_event(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        event: LayerEvent,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, event);
        async { Ok(()) }
    }

    /// Handles a resumption: see [`Consumer::resumed`](crate::Consumer::resumed).
    fn resumed(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        resumed: Resumed,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (socket, resumed);
        async { Ok(()) }
    }

    /// Handles the end: see [`Consumer::disconnect`](crate::Consumer::disconnect).
    fn disconnect(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        close: Close,
    ) -> impl Future<Output = ()> + Send {
        let _ = (socket, close);
        async {}
    }

    /// Handles an error like [`Consumer::error`](crate::Consumer::error); the answer is in this consumer's format, by
    /// [`Codec::encode_error`](crate::Codec::encode_error). A codec that has none ends the connection.
    fn error(
        &mut self,
        socket: &mut TypedSocket<'_, Self>,
        error: Error,
    ) -> impl Future<Output = Result<()>> + Send {
        async {
            match <Self::Codec as Codec>::encode_error(&error) {
                Some(answer) => socket.socket.send(answer).await,
                None => Err(error),
            }
        }
    }
}

/// A [`Socket`] that sends values. It dereferences to the socket.
pub struct TypedSocket<'a, C: TypedConsumer> {
    pub(super) socket: &'a mut Socket,
    /// The event that is being handled.
    event: Option<&'a SharedEvent<C>>,
}

impl<'a, C: TypedConsumer> TypedSocket<'a, C> {
    pub(super) fn new(socket: &'a mut Socket) -> Self {
        Self { socket, event: None }
    }

    pub(super) fn with_event(socket: &'a mut Socket, event: &'a SharedEvent<C>) -> Self {
        Self { socket, event: Some(event) }
    }

    /// Sends a value.
    ///
    /// # Errors
    /// See [`Socket::send`]; also if the format cannot hold the value.
    pub fn send(&mut self, output: &C::Output<'_>) -> impl Future<Output = Result<()>> + Send {
        // At once: the value need not be `Sync`.
        let frame = encode::<C>(output);
        async { self.socket.send(frame?).await }
    }

    /// Sends what `output` makes of the event that this hook handles.
    ///
    /// The first connection of this consumer's type encodes it; the others send the same bytes. So `output` is a function
    /// that captures nothing, and depends on the event alone: members that differ, by language for example, call this
    /// with different functions. Any other value of the event's type is encoded for this call.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn send_shared<'e>(
        &mut self,
        event: &'e C::Event,
        output: fn(&'e C::Event) -> C::Output<'e>,
    ) -> impl Future<Output = Result<()>> + Send {
        let make = || Ok(encode::<C>(&output(event))?.into_message());
        let message = match self.event {
            Some(shared) if std::ptr::eq(&raw const shared.event, event) => {
                shared.outputs.get_or_make((output as *const ()).addr(), make)
            }
            _ => make(),
        };
        async { self.socket.send_shared(message?).await }
    }

    /// Sends a value to the sockets of all members of a group, past their consumers: encoded once, in this consumer's
    /// codec. The members should be sockets of this consumer, or of consumers with the same format.
    ///
    /// Waits for the layer's answer; [`broadcast_pipelined`](Self::broadcast_pipelined) does not.
    /// [`BroadcastExt`](crate::BroadcastExt) does the same from outside of a connection.
    ///
    /// # Errors
    /// Those of [`Context::group_send`](crate::Context::group_send); also if the format cannot hold the value.
    #[track_caller]
    pub fn broadcast<G>(
        &mut self,
        group: G,
        output: &C::Output<'_>,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let prepared = self.socket.prepared_frame("broadcast", group, encode::<C>(output));
        self.socket.group_send_prepared(prepared)
    }

    /// Sends a value like [`broadcast`](Self::broadcast) to all members but this connection.
    ///
    /// # Errors
    /// Those of [`broadcast`](Self::broadcast).
    #[track_caller]
    pub fn broadcast_to_others<G>(
        &mut self,
        group: G,
        output: &C::Output<'_>,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let prepared = self.socket.prepared_frame("broadcast_to_others", group, encode::<C>(output));
        async {
            let (to, message) = prepared?;
            let to = to.except(self.socket.channel().await?.clone());
            self.socket.group_send_prepared(Ok((Box::new(to), message))).await
        }
    }

    /// Sends a value like [`broadcast`](Self::broadcast), without waiting for the layer's answer: see
    /// [`Context::group_send_pipelined`](crate::Context::group_send_pipelined).
    ///
    /// # Errors
    /// Those of [`broadcast`](Self::broadcast) that are known at once.
    #[track_caller]
    pub fn broadcast_pipelined<G>(
        &mut self,
        group: G,
        output: &C::Output<'_>,
    ) -> impl Future<Output = Result<()>> + Send
    where
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        let prepared = self.socket.prepared_frame("broadcast_pipelined", group, encode::<C>(output));
        self.socket.pipelined(prepared)
    }

    /// Sends one of this consumer's events to all members of a group: [`Context::group_send`](crate::Context::group_send), which
    /// takes any event, with the type checked.
    ///
    /// # Errors
    /// Those of [`Context::group_send`](crate::Context::group_send).
    #[track_caller]
    pub fn group_send_event<G>(
        &mut self,
        group: G,
        event: &C::Event,
    ) -> impl Future<Output = Result<()>> + Send
    where
        C::Event: Serialize,
        G: TryInto<GroupName, Error: Into<channel_layer::Error>> + AsRef<str>,
    {
        self.socket.group_send(group, event)
    }
}

fn encode<C: TypedConsumer>(output: &C::Output<'_>) -> Result<Frame> {
    <C::Codec as Encode<C::Output<'_>>>::encode(output)
}

impl<C: TypedConsumer> Deref for TypedSocket<'_, C> {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        self.socket
    }
}

impl<C: TypedConsumer> DerefMut for TypedSocket<'_, C> {
    fn deref_mut(&mut self) -> &mut Socket {
        self.socket
    }
}

/// An event of `C`, with the outputs that have been made of it. Kept with the message.
pub(super) struct SharedEvent<C: TypedConsumer> {
    pub(super) event: C::Event,
    outputs: SharedOutputs,
}

impl<'de, C: TypedConsumer> Deserialize<'de> for SharedEvent<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let event = C::Event::deserialize(deserializer)?;
        Ok(Self { event, outputs: SharedOutputs::default() })
    }
}
